"""A reader beside the writer, and a log that is copied into the file beside both."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from daemon.core.bars import Provenance
from daemon.store.data_folder import (
    CHECKPOINT_BYTES,
    STORE_NAME,
    Connections,
    checkpoints,
    connections,
)
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from tests.daemon.fake_venue import BTC, START, STEP, bar
from tests.fakes import FakeClock


@contextlib.asynccontextmanager
async def opened(
    folder: Path, clock: FakeClock | SystemClock | None = None
) -> AsyncIterator[Connections]:
    async with contextlib.AsyncExitStack() as stack:
        yield await connections(stack, folder, clock or SystemClock(), print)


async def test_a_read_does_not_wait_for_a_write_and_sees_what_was_committed(
    tmp_path: Path,
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow(store: Store) -> None:
        with store.database.writing() as db:
            db.execute("DELETE FROM bars")
            begun.set()
            may_end.wait(30)

    async with opened(tmp_path) as (writer, reader):
        await writer.call(Store.put_bars, BTC, [bar(0)], Provenance.REST)
        writing = asyncio.create_task(writer.call(slow))
        await asyncio.to_thread(begun.wait, 30)
        assert (await reader.call(Store.bars, BTC))["t"].tolist() == [START]
        may_end.set()
        await writing
        assert not len((await reader.call(Store.bars, BTC))["t"])
        await writer.call(Store.put_bars, BTC, [bar(1)], Provenance.REST)
        assert (await reader.call(Store.bars, BTC))["t"].tolist() == [START + STEP]


async def grow(stores: Connections, rows: int) -> None:
    text = {"text": "x" * CHECKPOINT_BYTES}
    for n in range(rows):
        await stores.writer.call(Store.append_journal, BTC, n, "decision", text)


class Stopped(FakeClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_the_log_is_copied_into_the_file_by_nobody_who_writes(tmp_path: Path) -> None:
    file = tmp_path / STORE_NAME
    async with opened(tmp_path, Stopped()) as stores:
        empty = file.stat().st_size
        await grow(stores, 8)
        assert file.stat().st_size == empty
    async with opened(tmp_path, FakeClock()) as stores:
        full = file.stat().st_size
        await grow(stores, 2)
        async with asyncio.timeout(60):
            while file.stat().st_size < full + 2 * CHECKPOINT_BYTES:
                await asyncio.sleep(0.01)


async def test_the_writer_copies_it_if_nobody_else_does(tmp_path: Path) -> None:
    async with opened(tmp_path, Stopped()) as stores:
        await grow(stores, 18)
        assert (tmp_path / STORE_NAME).stat().st_size > 14 * CHECKPOINT_BYTES


async def test_a_disk_that_refuses_a_checkpoint_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[Path]()

    def refused(path: Path) -> None:
        asked.append(path)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("daemon.store.data_folder._checkpoint", refused)
    async with opened(tmp_path, FakeClock()) as stores, asyncio.timeout(60):
        await grow(stores, 2)
        while len(asked) < 2:
            await asyncio.sleep(0)
        await grow(stores, 1)


class Ended(Exception):
    """The last turn is over."""


class Turns(FakeClock):
    """Does one of these at each pause, and ends the task at the next one."""

    def __init__(self, *turns: Callable[[], None]) -> None:
        super().__init__()
        self._turns = list(turns)

    async def sleep(self, seconds: float) -> None:
        if not self._turns:
            raise Ended
        self._turns.pop(0)()


async def test_a_log_that_was_copied_is_left_alone_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, asked, told = tmp_path / STORE_NAME, list[Path](), list[int]()

    def copied(path: Path) -> bool:
        asked.append(path)
        return True

    def look() -> None:
        told.append(len(asked))

    def change() -> None:
        os.utime(file.with_name(f"{STORE_NAME}-wal"), (0, 0))

    monkeypatch.setattr("daemon.store.data_folder._checkpoint", copied)
    async with opened(tmp_path, Stopped()) as stores:
        await grow(stores, 2)
        with pytest.raises(Ended):
            await checkpoints(file, Turns(look, look, look, change, look))
    assert told == [0, 1, 1, 2]
    assert asked == [file, file]


async def test_a_store_that_was_moved_away_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / STORE_NAME
    async with opened(tmp_path, Stopped()) as stores:
        await grow(stores, 2)
        file.rename(tmp_path / "moved")
        with pytest.raises(Ended):
            await checkpoints(file, Turns(lambda: None))
        assert not file.exists()
        (tmp_path / "moved").rename(file)


async def test_a_damaged_store_is_repaired_before_anybody_reads_it(tmp_path: Path) -> None:
    (tmp_path / STORE_NAME).write_bytes(b"no database at all" * 1000)
    async with opened(tmp_path) as (writer, reader):
        await writer.call(Store.put_bars, BTC, [bar(0)], Provenance.REST)
        assert len((await reader.call(Store.bars, BTC))["t"]) == 1
    assert list(tmp_path.glob(f"{STORE_NAME}.corrupt-*"))
