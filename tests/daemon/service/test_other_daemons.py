import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
import pytest

from daemon.mqtt.messages import DaemonStatus, encode
from daemon.service.other_daemons import GONE_S, OtherDaemons, identity
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from tests.captured import capture_logs
from tests.daemon.brokers import Embedded, Mosquitto, until
from tests.fakes import FakeClock

TOPICS = Topics()


@dataclass
class Daemon:
    """A daemon, as far as its status goes."""

    own: DaemonStatus
    bus: MqttConnection
    others: OtherDaemons
    clock: FakeClock

    async def speak(self, times: int = 2) -> None:
        for _ in range(times):
            self.bus.publish(TOPICS.status, self.own, retain=True)
            await self.bus.flush()


@contextlib.asynccontextmanager
async def daemon(url: str, host: str) -> AsyncIterator[Daemon]:
    fields = {**identity(), "host": host, "pid": 42}
    own = DaemonStatus(state="online", version="1", slots=("BTC-5m",), **fields)
    bus = MqttConnection(BrokerAddress.parse(url), SystemClock(), encode=encode)
    clock = FakeClock()
    others = OtherDaemons(own, bus, TOPICS, clock)
    task = asyncio.create_task(bus.run())
    await bus.wait_connected()
    try:
        yield Daemon(own, bus, others, clock)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_two_daemons_on_one_broker_and_prefix_name_each_other_once_until_one_is_gone(
    broker: Mosquitto | Embedded,
) -> None:
    with capture_logs() as logs:
        async with daemon(broker.url, "left") as left, daemon(broker.url, "right") as right:
            for _ in range(3):
                await left.speak()
                await right.speak()
            await until(lambda: left.others.trouble() and right.others.trouble())
            assert "on right, process 42" in left.others.trouble()
            assert "give it another mqtt.prefix" in left.others.trouble()
            assert [e["host"] for e in logs if e["event"] == "daemon.not_alone"].count("right") == 1
            left.clock.ms += round(GONE_S * 1000) + 1
            assert left.others.trouble() == ""
    assert [e["event"] for e in logs].count("daemon.alone") == 1


async def test_what_the_broker_kept_of_an_earlier_run_is_no_other_daemon(
    broker: Mosquitto | Embedded,
) -> None:
    with capture_logs() as logs:
        async with daemon(broker.url, "here") as killed:
            await killed.speak()  # and `kill -9` of broker and daemon: no last will
        for _ in range(3):  # it starts again and again
            async with daemon(broker.url, "here") as started:
                await started.speak()
                assert started.others.trouble() == ""
    assert "daemon.not_alone" not in {e["event"] for e in logs}


@pytest.mark.parametrize("fields", [{"state": "offline"}, {"instance": ""}])
async def test_a_last_will_and_an_older_daemon_without_an_instance_are_not_told_of(
    broker: Mosquitto | Embedded, fields: dict[str, str]
) -> None:
    async with daemon(broker.url, "left") as left, daemon(broker.url, "right") as right:
        right.own = msgspec.structs.replace(right.own, **fields)
        await right.speak(3)
        await left.speak()
        await left.bus.flush()
        assert left.others.trouble() == ""
