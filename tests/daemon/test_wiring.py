"""What the parts of a new data folder find there once they run."""

import asyncio
import sys
from pathlib import Path

import pytest

from daemon.config.schema import Config, DaemonSection
from daemon.core import subprocesses
from daemon.core.clock import VenueClock
from daemon.core.confined import landlock_version
from daemon.core.subprocesses import Limits
from daemon.mqtt.messages import encode
from daemon.runtime.command_log import CommandLog
from daemon.runtime.trades import TradeBook
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import STORE_NAME
from daemon.store.retrying_store import RetryingStore
from daemon.store.store import Store
from daemon.wiring import SharedParts, SlotParts, build_slots
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics

READER = "import sys; print(flush=True); sys.stdin.readline(); print(open(sys.argv[1]).read())"


def built(folder: Path) -> SlotParts:
    config = Config(daemon=DaemonSection(data_dir=str(folder)))
    clock = SystemClock()
    venue = VenueClock(clock)
    store = RetryingStore(ThreadedStore(Store.open_or_rebuild(folder / STORE_NAME)), clock)
    bus = MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:9"), clock, encode=encode)
    book, audit = TradeBook(venue), CommandLog(store, clock, venue)
    return build_slots(SharedParts(config, clock, venue, store, bus, Topics(), audit, book))


async def test_a_process_of_the_start_reads_the_models_that_are_made_later(tmp_path: Path) -> None:
    if not landlock_version():
        pytest.skip("this kernel has no Landlock")
    parts, pipe = built(tmp_path), asyncio.subprocess.PIPE
    model = tmp_path / "models" / "BTC-5m" / "manifest.json"
    async with asyncio.timeout(60), parts.jobs.own_surroundings() as (where, _):
        command, limits = ("-c", READER, str(model)), Limits(sys.executable, 0, memory_mib=0)
        child = await subprocesses.start(command, limits, where, stdin=pipe)
        assert child.stdout is not None
        await child.stdout.readline()  # it runs, with the rights that it will ever have
        model.parent.mkdir(parents=True)
        model.write_text("a model")
        said, _ = await child.communicate(b"go\n")
    assert said == b"a model\n"
