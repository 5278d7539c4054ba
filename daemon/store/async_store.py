"""Call the store from the event loop without blocking the loop on the disk."""

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from daemon.store.database import Database, StoreUnavailable
from daemon.store.store import Store

P = ParamSpec("P")
R = TypeVar("R")

# A decision waits for its entry in the journal. At a close of hundreds of slots, so much else is
# to be stored that this would be most of its time.
_BEFORE_OTHERS: Final = frozenset({Store.append_journal})


class AsyncStore(Protocol):
    """What tasks need of a store: to run one of its methods and wait for the result."""

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)`, for example `await store.call(Store.newest_t, slot)`."""


_Job = tuple[Callable[[], Any], Future[Any]]


class StoreInTurn:
    """A store that does one thing at a time, and nothing beside whoever has the turn.

    Args:
        store: Where the methods run.
        turns: Who holds one goes on; the others wait in order.
    """

    def __init__(self, store: AsyncStore, turns: asyncio.Semaphore) -> None:
        self._store, self._turns = store, turns

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)` in its turn; its exceptions are raised here."""
        async with self._turns:
            return await self._store.call(method, *args, **kwargs)


class ThreadedStore:
    """A `Store` whose methods run on one thread of their own, an entry of the journal at first.

    Args:
        store: The open store; `close` closes it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._first, self._others = deque[_Job](), deque[_Job]()

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)` on that thread; its exceptions are raised here."""
        work, answer = functools.partial(method, self.store, *args, **kwargs), Future[R]()
        (self._first if method in _BEFORE_OTHERS else self._others).append((work, answer))
        self._thread.submit(self._run_one)
        return await asyncio.wrap_future(answer)

    def _run_one(self) -> None:
        work, answer = (self._first or self._others).popleft()
        if not answer.set_running_or_notify_cancel():
            return
        try:
            answer.set_result(work())
        except BaseException as e:  # noqa: BLE001 - whoever waits has it
            answer.set_exception(e)

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
