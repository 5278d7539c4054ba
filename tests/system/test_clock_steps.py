"""The host's wall clock is set while a real daemon runs on it: bars, orders and commands.

libfaketime answers every question for the time of day with another hour; the monotonic clock,
and everybody who is not on that host, goes on as before.
"""

import json
import re
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.store.data_folder import open_store
from daemon.store.journal_kinds import POINTER_MOVED
from hyperdrift.clock import SystemClock
from tests.daemon.brokers import Mosquitto, until
from tests.system.venue import (
    SLOT,
    Host,
    Listener,
    check_store,
    host,
    hyperdrift,
    publish,
    two_versions,
)

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LIBRARY is None, reason="libfaketime is not installed"),
    pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto-clients"),
]

ROOM = f"hyperdrift/{SLOT}"
TWO_HOURS = 7200
# A message, or a question to the venue, may take so long on a busy host.
ON_ITS_WAY_S = 60


class HostClock:
    """Sets the clock of all processes that begin after it was made, and goes on to set it."""

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self._file = folder / "clock"
        self.set(0)
        environment.setenv("LD_PRELOAD", str(LIBRARY))
        environment.setenv("FAKETIME_TIMESTAMP_FILE", str(self._file))
        for name in ("FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC", "NO_FAKE_STAT"):
            environment.setenv(name, "1")
        # Else every wait for another thread lasts five milliseconds longer.
        environment.setenv("FAKETIME_FORCE_MONOTONIC_FIX", "0")

    def set(self, ahead_s: int) -> None:
        aside = self._file.with_suffix(".new")
        aside.write_text(f"{ahead_s:+d}\n")
        aside.replace(self._file)


@pytest.fixture
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


async def test_steps_of_the_hosts_clock_cost_no_bar_disorder_no_order_and_are_told(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        async with (
            # Nothing is trained: two versions are there, and a person promotes one or the other.
            host(tmp_path, broker.url, min_new_bars=1_000_000) as machine,
            Listener(broker.port) as bus,
            machine.bot(),
        ):
            _, one, two = two_versions(machine)
            clock = HostClock(tmp_path, environment)
            async with machine.daemon():
                await it_is_ready(machine)
                await a_swap_goes_as_ever(machine, bus, two)
                clock.set(TWO_HOURS)
                await it_is_told(machine, 1, TWO_HOURS)
                await from_elsewhere(broker, bus, "early", r"stale: issued (\d+) s ago")
                await a_swap_goes_as_ever(machine, bus, one)
                clock.set(-TWO_HOURS)
                await it_is_told(machine, 2, -2 * TWO_HOURS)
                await from_elsewhere(broker, bus, "late", r"issued (\d+) s in the future")
                await a_swap_goes_as_ever(machine, bus, two)
            async with machine.daemon():  # started again while its clock is wrong
                await it_is_ready(machine)
                await a_swap_goes_as_ever(machine, bus, one)
                clock.set(0)
                await it_is_told(machine, 1, TWO_HOURS)
                await a_swap_goes_as_ever(machine, bus, two)
            nothing_is_lost_or_in_disorder(machine)
            the_bot_took_the_orders_and_answered_every_bar(bus, [one, two, one, two, one, two])
    finally:
        await broker.stop()


def lines(machine: Host, event: str) -> list[dict[str, Any]]:
    """Return what the daemon said since its last start."""
    text = (machine.folder / "daemon.log").read_text()
    said = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("}\n")]
    return [line for line in said if line["event"] == event]


async def it_is_ready(machine: Host) -> None:
    await until(lambda: lines(machine, "daemon.ready"))


async def it_is_told(machine: Host, times: int, by_s: int) -> None:
    await until(lambda: len(lines(machine, "host.clock_stepped")) >= times)
    told = lines(machine, "host.clock_stepped")
    assert len(told) == times
    assert round(told[-1]["by_s"]) == by_s
    assert "timedatectl" in told[-1]["remedy"]


async def from_elsewhere(broker: Mosquitto, bus: Listener, name: str, why: str) -> None:
    """A command with the right time does not fit the host's, and the reply says what to do."""
    issued_ms = round(time.time() * 1000)
    request = {"command": "rollback", "request_id": name, "reason": "", "issued_ms": issued_ms}
    await publish(broker.port, f"{ROOM}/command", request)
    reply = await bus.wait_for(f"{ROOM}/command/reply", request_id=name)
    assert not reply["accepted"]
    by_s = re.search(why, reply["detail"])
    assert by_s is not None, reply
    assert int(by_s[1]) == pytest.approx(TWO_HOURS, abs=ON_ITS_WAY_S)
    assert "clock and the daemon's differ: set the wrong one" in reply["detail"]


async def a_swap_goes_as_ever(machine: Host, bus: Listener, model_id: str) -> None:
    """A person on the host promotes a version, bars go on, the bot loads it."""
    before = len(bus.messages)
    words = ("models", "promote", model_id, "--slot", str(SLOT), "--reason", "I know why")
    code, moved = await hyperdrift(machine, *words)
    assert (code, moved["model_id"]) == (0, model_id), moved
    await bus.wait_for(f"{ROOM}/state", model_id=model_id)

    def seen(topic: str, **fields: object) -> bool:
        news = [(name, said) for name, said in bus.messages[before:] if name == f"{ROOM}/{topic}"]
        return any(all(said.get(k) == v for k, v in fields.items()) for _, said in news)

    await until(lambda: seen("model/ack", model_id=model_id, status="loaded"))
    await until(lambda: seen("prediction", model_id=model_id))


def nothing_is_lost_or_in_disorder(machine: Host) -> None:
    assert len(check_store(machine)) > 50
    with open_store(machine.data_dir, read_only=True) as store:
        moves = [e.body["deployed_ms"] for e in store.journal(SLOT, kinds=[POINTER_MOVED])]
    assert len(moves) == 6
    assert all(a < b for a, b in pairwise(moves))


def the_bot_took_the_orders_and_answered_every_bar(bus: Listener, models: list[str]) -> None:
    orders = {order["swap_id"]: order for order in bus.of(f"{ROOM}/model")}
    assert all(a["issued_ms"] <= b["issued_ms"] for a, b in pairwise(orders.values()))
    acks = bus.of(f"{ROOM}/model/ack")
    assert {ack["status"] for ack in acks} == {"loaded"}
    answers = bus.of(f"{ROOM}/prediction")
    assert set(np.diff([answer["t"] for answer in answers])) == {SLOT.interval_ms}
    changes = [answers[0], *(b for a, b in pairwise(answers) if a["model_id"] != b["model_id"])]
    assert [answer["model_id"] for answer in changes] == models


@pytest.mark.parametrize(("ahead_s", "where"), [(7200, "ahead of"), (-7200, "behind")])
async def test_doctor_on_that_host_says_by_how_much_and_what_to_do(
    tmp_path: Path, environment: pytest.MonkeyPatch, ahead_s: int, where: str
) -> None:
    clock, step = SystemClock(), SLOT.interval_ms
    past = generate(300, step, seed=1, start_ms=(clock.now_ms() // step - 200) * step)
    async with ReplayExchange((past,), clock, speed=1.0, start_ms=clock.now_ms()) as exchange:
        machine = Host(tmp_path, past, exchange, "mqtt://127.0.0.1:9")
        HostClock(tmp_path, environment).set(ahead_s)
        machine.daemon(speed=1.0)  # writes the configuration
        code, found = await hyperdrift(machine, "doctor")
    said = {check["name"]: check["problem"] for check in found["checks"]}
    assert code != 0
    assert said["venue"] == ""
    told = rf"this host is (\d+) s {where} the venue: `timedatectl set-ntp true`"
    by_s = re.fullmatch(told, said["clock"])
    assert by_s is not None, said["clock"]
    assert int(by_s[1]) == pytest.approx(TWO_HOURS, abs=ON_ITS_WAY_S)
