"""One writer and many readers, each a process of its own, and a writer that is killed."""

import multiprocessing
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import numpy as np
import pytest

from daemon.core.bars import Provenance
from daemon.core.clock import VenueClock
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.backfill import Backfill
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.fake_venue import BTC, START, STEP, bar

BATCH = 10
# Forked, because a fresh interpreter spends seconds on imports that have no part in this.
PROCESSES = multiprocessing.get_context("fork")


def write(path: Path, first: int, batches: int, said: Connection) -> None:
    with Store(path) as store:
        for k in range(first, first + batches):
            batch = [bar(k * BATCH + i, volume=k + 1) for i in range(BATCH)]
            store.put_bars(BTC, batch, Provenance.REST)
            store.append_journal(BTC, k, "Batch", {"k": k})
            said.send(k)


def read(path: Path, until: int) -> None:
    with Store(path, read_only=True) as store:
        seen = 0
        while seen < until:
            volume = store.bars(BTC)["volume"]
            assert len(volume) >= seen, "a bar went away"
            expected = [k + 1 for k in range(len(volume) // BATCH) for _ in range(BATCH)]
            assert volume.tolist() == expected, "half a batch"
            seen = len(volume)


def test_readers_in_other_processes_see_whole_batches_while_the_daemon_writes(
    tmp_path: Path,
) -> None:
    path, batches = tmp_path / "bars.db", 150
    Store(path).close()
    _, said = PROCESSES.Pipe(duplex=False)
    processes = [
        PROCESSES.Process(target=read, args=(path, batches * BATCH)),
        PROCESSES.Process(target=read, args=(path, batches * BATCH)),
        PROCESSES.Process(target=write, args=(path, 0, batches, said)),
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0


COUNT = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM bars").fetchone()[0])
"""


def counted_elsewhere(path: Path) -> int:
    """Count the bars in another process, which is the last to close the file, as it thinks."""
    command = (sys.executable, "-S", "-c", COUNT, str(path))
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_reader_in_the_process_of_the_writer_leaves_the_writer_its_log(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    with Store(path) as writer:
        Store(path, read_only=True).close()
        with Store(path, read_only=True) as reader:
            writer.put_bars(BTC, [bar(0)], Provenance.REST)
            assert counted_elsewhere(path) == 1
            writer.put_bars(BTC, [bar(1)], Provenance.REST)
            assert len(reader.bars(BTC)["t"]) == 2
        assert counted_elsewhere(path) == 2


def test_a_writer_killed_at_any_moment_leaves_whole_batches(tmp_path: Path) -> None:
    path, random, done = tmp_path / "bars.db", Random(1), 0
    for _ in range(10):
        heard, said = PROCESSES.Pipe(duplex=False)
        writer = PROCESSES.Process(target=write, args=(path, done, 10_000, said))
        writer.start()
        said.close()
        reported = [heard.recv() for _ in range(random.randrange(1, 40))]
        heard.poll(random.random() * 0.01)
        writer.kill()
        writer.join()
        with suppress(EOFError):
            while True:
                reported.append(heard.recv())
        with Store(path) as store:
            volume = store.bars(BTC)["volume"]
            entries = [entry.body["k"] for entry in store.journal()]
            assert store.fault() is None
        assert len(volume) % BATCH == 0
        kept = len(volume) // BATCH
        # What was said to be stored is; the batch at hand may be too, without its entry.
        assert entries == list(range(len(entries)))
        assert reported[-1] + 1 <= len(entries) <= kept <= len(entries) + 1
        # The next writer begins with the batch that has no entry yet: a second time is no harm.
        done = len(entries)


RECORDING = generate(700, STEP, 4, start_ms=START, change_at=None)
SLOT = SlotName(RECORDING.coin, "5m")


@pytest.mark.parametrize("damage", ["head", "middle"])
async def test_a_damaged_store_is_set_aside_and_rebuilt_from_the_venue(
    tmp_path: Path, damage: str
) -> None:
    path, clock = tmp_path / "bars.db", SystemClock()
    venue = VenueClock(clock)
    start_ms = int(RECORDING.t[600]) + 30_000
    async with (
        ReplayExchange([RECORDING], clock, speed=1, start_ms=start_ms) as exchange,
        RestClient(exchange.url, clock, venue) as rest,
    ):
        await rest.learn_clock()

        async def filled() -> dict[str, np.ndarray]:
            store = ThreadedStore(Store.open_or_rebuild(path))
            await Backfill(rest, store, venue).fetch(SLOT, START)
            frame = store.store.frame(SLOT)
            store.close()
            return frame

        before = await filled()
        content = bytearray(path.read_bytes())
        at = 0 if damage == "head" else len(content) // 2
        content[at : at + 4096] = b"\xa5" * 4096
        path.write_bytes(content)
        with capture_logs() as logs:
            after = await filled()
    aside = str(tmp_path / "bars.db.corrupt-1")
    assert [log["set_aside"] for log in logs if log["event"] == "store.corrupt"] == [aside]
    assert len(after["t"]) == 600
    for name, column in before.items():
        np.testing.assert_array_equal(after[name], column)
    with Store(path, read_only=True) as store:
        assert {copy.provenance for copy in store.held(SLOT, 0, 2**62)} == {Provenance.REST}
