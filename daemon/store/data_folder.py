"""Where the store lies in a data folder, and how it is opened there.

The daemon has two connections: one writes, and one reads. When the bars of many slots close
together, each slot reads its bars and writes its decision; on one connection they would wait for
each other.
"""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from daemon.store.async_store import ThreadedStore
from daemon.store.retrying_store import RetryingStore, until_available
from daemon.store.store import Store
from hyperdrift.clock import Clock

STORE_NAME: Final = "hyperdrift.sqlite"


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
    opened = partial(Store.open_or_rebuild, data_dir / STORE_NAME)
    writer = ThreadedStore(await until_available(opened, clock, say))
    stack.callback(writer.close)
    readable = partial(open_store, data_dir, read_only=True)
    reader = ThreadedStore(await until_available(readable, clock, say))
    stack.callback(reader.close)
    return Connections(writer, RetryingStore(reader, clock))
