"""A service manager stops the daemon in whatever it is doing; the next start goes on from there.

`tests/system/test_service.py` stops it in a retrain, while the venue is away and while it fetches.
"""

import asyncio
import contextlib
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.demo.processes import DemoProcess, ProcessEnded
from daemon.registry.registry import Registry
from daemon.runtime import event_codec
from daemon.store.data_folder import STORE_NAME, open_store
from monitor.events import BarScored
from tests.daemon.brokers import Mosquitto, until
from tests.system.venue import (
    HISTORY,
    SLOT,
    Host,
    Listener,
    check_store,
    host,
    hyperdrift,
    publish,
    two_versions,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="needs mosquitto-clients"),
]

ROOM = f"hyperdrift/{SLOT}"
MISSED = 1500
DISK_MIB = 48


class Manager:
    """What a service manager hears of the daemons that begin after it was made."""

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        path = folder / "notify"
        self._socket.bind(str(path))
        environment.setenv("NOTIFY_SOCKET", str(path))
        self.said: list[str] = []

    async def hears(self, text: str) -> None:
        await until(lambda: self.heard(text))

    def heard(self, text: str) -> bool:
        return any(text in said for said in self._listen())

    def _listen(self) -> list[str]:
        try:
            while True:
                self.said.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self.said

    def close(self) -> None:
        self._socket.close()


@dataclass
class Stage:
    """A machine with a live version and another one."""

    machine: Host
    bus: Listener
    broker: Mosquitto
    manager: Manager
    registry: Registry
    models: tuple[str, str]

    @property
    def filler(self) -> Path:
        return self.machine.data_dir / "filler"

    def fill(self) -> None:
        """Fill the disk to the last byte, if it is one of our own."""
        if not self.machine.data_dir.is_mount():
            pytest.skip("only root can mount a disk to fill")
        with contextlib.suppress(OSError), self.filler.open("ab", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def scored(self) -> list[int]:
        """Return the times of bars scored, in the order of the journal."""
        uri = f"{(self.machine.data_dir / STORE_NAME).as_uri()}?mode=ro"
        query = "SELECT body ->> 't' FROM journal WHERE kind = 'BarScored' ORDER BY seq"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=60)) as db:
            return [t for (t,) in db.execute(query)]


async def scoring_what_was_missed(stage: Stage) -> None:
    """The daemon was away for five days, and is at the first of them."""
    old = stage.machine.recording.t[HISTORY - MISSED]
    event = BarScored(
        slot=str(SLOT), at_ms=int(old) + 300_000, t=int(old), close=1.0, row=(0.0,) * 17
    )
    with open_store(stage.machine.data_dir) as store:
        store.append_journal(SLOT, event.at_ms, *event_codec.body(event))


async def in_the_middle_of_that(stage: Stage) -> None:
    await stage.manager.hears("STATUS=starting: scoring what was missed")
    await until(lambda: len(stage.scored()) > 100)


async def waiting_for_a_bot(stage: Stage) -> None:
    """A bot is there and never answers."""
    bot = {"online": True, "bot_id": "deaf", "model_id": "", "python": "3.11", "sklearn": ""}
    await publish(stage.broker.port, f"{ROOM}/bot", bot, "-r")


async def after_the_order(stage: Stage) -> None:
    await stage.manager.hears("READY=1")
    two = stage.models[1]
    await hyperdrift(stage.machine, "models", "promote", two, "--slot", str(SLOT), "--reason", "x")
    await stage.bus.wait_for(f"{ROOM}/model", model_id=two)


async def nothing(stage: Stage) -> None:
    """All is well."""


async def with_a_disk_that_fills(stage: Stage) -> None:
    await stage.manager.hears("READY=1")
    async with asyncio.timeout(180):
        while not stage.manager.heard("STATUS=the store"):
            stage.fill()  # again and again: the store may give some room back
            await asyncio.sleep(0.05)


async def with_a_full_disk(stage: Stage) -> None:
    stage.fill()


async def while_it_waits_for_the_store(stage: Stage) -> None:
    await stage.manager.hears("STATUS=starting: opening the store")
    log = stage.machine.folder / "daemon.log"
    await until(lambda: "store.unavailable" in log.read_text())


Step = Callable[[Stage], Awaitable[None]]
STOPS: dict[str, tuple[Step, Step]] = {
    "scoring what was missed": (scoring_what_was_missed, in_the_middle_of_that),
    "waiting for a bot": (waiting_for_a_bot, after_the_order),
    "waiting for room on the disk": (nothing, with_a_disk_that_fills),
    "waiting for the store at the start": (with_a_full_disk, while_it_waits_for_the_store),
}


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Have the data on a disk of its own, where root runs this."""
    folder.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "none", str(folder))
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(("umount", "--lazy", str(folder)), check=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    broker = Mosquitto(tmp_path)
    await broker.start()  # first: it would tell the manager that it is ready, too
    try:
        with pytest.MonkeyPatch.context() as environment, small_disk(tmp_path / "data"):
            manager = Manager(tmp_path, environment)
            async with (
                # Nothing is trained: a version is live, and a person promotes another.
                host(tmp_path, broker.url, min_new_bars=1_000_000) as machine,
                Listener(broker.port) as bus,
            ):
                registry, *models = two_versions(machine)
                yield Stage(machine, bus, broker, manager, registry, (models[0], models[1]))
            manager.close()
    finally:
        await broker.stop()


@pytest.mark.parametrize("doing", STOPS)
async def test_stopped_in_whatever_it_does_it_ends_cleanly_and_the_next_start_goes_on(
    stage: Stage, doing: str
) -> None:
    prepare, reach = STOPS[doing]
    machine, manager = stage.machine, stage.manager
    await prepare(stage)
    async with machine.daemon() as daemon:
        await reach(stage)
        daemon.signal(signal.SIGTERM)
        await manager.hears("STOPPING=1")
        await until(lambda: ended(daemon))
    stage.filler.unlink(missing_ok=True)
    before, live = stage.scored(), stage.registry.live(SLOT)
    manager.said.clear()
    async with machine.daemon():
        await manager.hears("READY=1")
        scored = len(stage.scored())
        await until(lambda: len(stage.scored()) > scored + 5)
    assert len(before) < MISSED
    assert check_store(machine)[: len(before)] == before
    assert live is not None
    orders = [
        order for order in stage.bus.of(f"{ROOM}/model") if order["model_id"] == live.model_id
    ]
    assert {order["issued_ms"] for order in orders} == {live.deployed_ms}


def ended(daemon: DemoProcess) -> bool:
    """Whether it ended by itself, and well."""
    try:
        daemon.check()
    except ProcessEnded as e:
        if "ended with code 0" not in str(e):
            raise
        return True
    return False
