"""Call the store from the event loop without blocking the loop on the disk."""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from daemon.store.database import Database, StoreUnavailable
from daemon.store.store import Store

P = ParamSpec("P")
R = TypeVar("R")


class AsyncStore(Protocol):
    """What tasks need of a store: to run one of its methods and wait for the result."""

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)`, for example `await store.call(Store.newest_t, slot)`."""


class ThreadedStore:
    """A `Store` whose methods run on one thread of their own.

    Args:
        store: The open store; `close` closes it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)` on that thread; its exceptions are raised here."""
        work = functools.partial(method, self.store, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Wait for the calls that have begun, then close the file."""
        self._thread.shutdown()
        self.store.close()


async def check_beside(path: Path) -> None:
    """Check every page of a file that another connection uses meanwhile.

    Raises:
        StoreCorrupt: If it is damaged. The next start repairs it, so end the daemon.
    """
    beside = Database(path, read_only=True)
    with contextlib.closing(beside):
        try:
            with contextlib.suppress(StoreUnavailable):
                await asyncio.to_thread(beside.check)
        except asyncio.CancelledError:
            beside.interrupt()
            raise
