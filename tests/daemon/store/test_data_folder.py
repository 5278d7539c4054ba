"""A reader beside the writer of the same store."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from daemon.core.bars import Provenance
from daemon.store.data_folder import STORE_NAME, Connections, connections
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from tests.daemon.fake_venue import BTC, START, STEP, bar


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Connections]:
    async with contextlib.AsyncExitStack() as stack:
        yield await connections(stack, folder, SystemClock(), print)


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


async def test_a_damaged_store_is_repaired_before_anybody_reads_it(tmp_path: Path) -> None:
    (tmp_path / STORE_NAME).write_bytes(b"no database at all" * 1000)
    async with opened(tmp_path) as (writer, reader):
        await writer.call(Store.put_bars, BTC, [bar(0)], Provenance.REST)
        assert len((await reader.call(Store.bars, BTC))["t"]) == 1
    assert list(tmp_path.glob(f"{STORE_NAME}.corrupt-*"))
