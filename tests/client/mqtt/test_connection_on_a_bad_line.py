"""A line to the broker that is slow, torn or deaf: nothing published is lost on the way."""

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.captured import capture_logs
from tests.daemon.brokers import Embedded, Mosquitto, connection, subscribed, until
from tests.link import WORSE, Link, good, slow

MESSAGES = 40


@pytest.mark.parametrize("worse", WORSE)
async def test_every_message_crosses_a_bad_line_in_order_and_the_newest_state_too(
    broker: Mosquitto | Embedded,
    worse: Callable[[Link], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A slow line is not left, however busy this host is; a deaf one is, soon.
    answer_s = 60.0 if worse is slow else 1.0
    monkeypatch.setattr("hyperdrift.mqtt.connection.ANSWER_S", answer_s)
    events: list[int] = []
    states: list[int] = []
    asked: list[bytes] = []
    with capture_logs() as logs:
        async with (
            Link(broker.url) as link,
            connection(broker.url) as ear,
            connection(link.through(broker.url)) as bus,
        ):
            ear.subscribe("t/event", lambda _t, body, _r: events.append(json.loads(body)["n"]))
            ear.subscribe("t/state", lambda _t, body, _r: states.append(json.loads(body)["n"]))
            bus.subscribe("t/command", lambda _t, body, _r: asked.append(body))
            await subscribed(ear, bus)
            for n in range(MESSAGES):
                if n == MESSAGES // 4:
                    worse(link)
                bus.publish("t/event", {"n": n})
                bus.publish("t/state", {"n": n}, retain=True)
                await asyncio.sleep(0.05)
            good(link)
            await until(lambda: set(events) == set(range(MESSAGES)))
            await until(lambda: states and states[-1] == MESSAGES - 1)
            ear.publish("t/command", {})
            await until(lambda: asked)
    assert list(dict.fromkeys(events)) == list(range(MESSAGES))
    lost = [entry["event"] for entry in logs].count("bus.lost")
    assert lost >= 1 if worse is not slow else link.connections == 1
