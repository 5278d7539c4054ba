"""Where the store lies in a data folder, and how it is opened there.

The daemon has three connections: one writes, one reads, one makes checkpoints. When the bars of
many slots close together, each slot reads its bars and writes its decision; on one connection they
would wait for each other. SQLite also copies its log into the file now and then, a checkpoint.
Inside a commit that waits for the disk, for 100 ms and more on a busy one, and everybody with it.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from daemon.core.tasks import running
from daemon.store.async_store import ThreadedStore
from daemon.store.retrying_store import RetryingStore, until_available
from daemon.store.store import Store
from hyperdrift.clock import Clock

STORE_NAME: Final = "hyperdrift.sqlite"
CHECKPOINT_BYTES: Final = 1 << 20
"""A log of this size is copied into the file."""
_LOOK_S: Final = 1.0
# A log of so many pages of 4 KiB shows that nobody else copies it: then the writer does.
_WRITER_PAGES: Final = 4 * 1024


def open_store(data_dir: Path, *, read_only: bool = False) -> Store:
    """Open the store of a data folder; make the folder if it is to be written.

    Raises:
        BadInput: If `read_only` and there is no store yet.
        StoreCorrupt: If it cannot be read.
    """
    if not read_only:
        data_dir.mkdir(parents=True, exist_ok=True)
    return Store(data_dir / STORE_NAME, read_only=read_only)


class Connections(NamedTuple):
    """Two connections to one database, each with a thread of its own.

    The reader sees what the writer has committed before the read begins. It repeats a read that
    the disk refuses.
    """

    writer: ThreadedStore
    reader: RetryingStore


async def connections(
    stack: contextlib.AsyncExitStack, data_dir: Path, clock: Clock, say: Callable[[str], None]
) -> Connections:
    """Open the store of a data folder, and close it when `stack` ends; repair a damaged one.

    While the disk does not allow it, this waits, and `say` is told why.

    Raises:
        BadInput: If a newer hyperdrift wrote it.
    """
    path = data_dir / STORE_NAME
    opened = partial(Store.open_or_rebuild, path)
    writer = ThreadedStore(await until_available(opened, clock, say))
    stack.callback(writer.close)
    readable = partial(open_store, data_dir, read_only=True)
    reader = ThreadedStore(await until_available(readable, clock, say))
    stack.callback(reader.close)
    await writer.call(_leave_checkpoints)
    await stack.enter_async_context(running(checkpoints(path, clock), "checkpoints"))
    return Connections(writer, RetryingStore(reader, clock))


async def checkpoints(path: Path, clock: Clock) -> None:
    """Copy the log of a database into its file whenever it has grown, until cancelled.

    Nobody waits for it. A disk that refuses is left to the writer, which says so.
    """
    log, copied_ns = path.with_name(f"{path.name}-wal"), 0
    while True:
        await clock.sleep(_LOOK_S)
        with contextlib.suppress(OSError, sqlite3.Error):
            # A log that was copied keeps its size; it is written from its start again.
            found = log.stat()
            is_new = found.st_mtime_ns != copied_ns and found.st_size >= CHECKPOINT_BYTES
            if is_new and await asyncio.to_thread(_checkpoint, path):
                copied_ns = found.st_mtime_ns


def _checkpoint(path: Path) -> bool:
    """Return whether the whole log was copied: nobody read an older state."""
    # Opened so, a file that was moved away is not made again.
    place = f"{path.absolute().as_uri()}?mode=rw"
    with contextlib.closing(sqlite3.connect(place, uri=True, timeout=0)) as beside:
        beside.execute("PRAGMA synchronous = NORMAL")
        _, pages, copied = beside.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(pages == copied)


def _leave_checkpoints(store: Store) -> None:
    store.database.read(f"PRAGMA wal_autocheckpoint = {_WRITER_PAGES}")
