"""Retry what the disk refuses, so that no decision is lost while it is full or read-only.

A full disk must neither end the daemon nor lose an event. The live model stays loaded and the
bot keeps using it; whatever needs the store waits until somebody has freed some room.
"""

import asyncio
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

import structlog

from daemon.core.log_once import LogOnce
from daemon.store.async_store import ThreadedStore
from daemon.store.database import StoreUnavailable
from daemon.store.store import Store
from hyperdrift.clock import Clock

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

_RETRY_S: Final = 2.0


async def until_available(
    work: Callable[[], R], clock: Clock, say: Callable[[str], None] = lambda _: None
) -> R:
    """Run `work` in a thread until the disk allows it; return what it returned.

    `say` is told each time why the disk does not.
    """
    refusal = LogOnce()
    while True:
        try:
            result = await asyncio.to_thread(work)
        except StoreUnavailable as e:
            if refusal.begins():
                log.error("store.unavailable", why=str(e), outcome="waiting for it")  # noqa: TRY400 - no trace
            say(str(e))
            await clock.sleep(_RETRY_S)
        else:
            if refusal.ends():
                log.info("store.back")
            return result


class RetryingStore:
    """An `AsyncStore` that repeats a call for as long as the disk refuses it.

    Args:
        inner: The store that does the work.
        clock: Paces the attempts.
        alarm: Called with a sentence when the disk begins to refuse.
        calm: Called with the same sentence when it does no longer.

    Attributes:
        inner: The same store.
        trouble: Why the disk refuses at present, in words; "" while it does not.
    """

    def __init__(
        self,
        inner: ThreadedStore,
        clock: Clock,
        alarm: Callable[[str], None] = lambda _: None,
        calm: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.inner, self._clock, self._alarm, self._calm = inner, clock, alarm, calm
        self._told = ""
        self._refused_at_s, self._rows_written = 0.0, 0
        self.trouble = ""
        self._waiting = 0

    @property
    def blocked(self) -> str:
        """Why the disk refuses what is waiting to be written, in words; "" if nothing waits."""
        return self.trouble if self._waiting else ""

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)`; wait while the disk is full or cannot be written."""
        while True:
            try:
                return await self.call_once(method, *args, **kwargs)
            except StoreUnavailable:
                self._waiting += 1
                try:
                    await self._clock.sleep(_RETRY_S)
                finally:
                    self._waiting -= 1

    async def call_once(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)` once; log and alert if the disk refuses.

        Raises:
            StoreUnavailable: If the disk is full or cannot be written.
        """
        try:
            result = await self.inner.call(method, *args, **kwargs)
        except StoreUnavailable as e:
            self._note_refusal(str(e))
            raise
        self._note_success()
        return result

    def close(self) -> None:
        """Close the inner store."""
        self.inner.close()

    def _note_refusal(self, why: str) -> None:
        self._refused_at_s, self._rows_written = self._clock.monotonic(), self._rows()
        if not self.trouble:
            outcome = "the live model goes on answering; what is to be written waits"
            log.error("store.unavailable", why=why, outcome=outcome)
            self._told = f"{why}; {outcome}"
            self._alarm(self._told)
        self.trouble = why

    def _note_success(self) -> None:
        """Declare the disk usable after it wrote a row and refused nothing for a while."""
        if not self.trouble:
            return
        if not self.inner.store.database.read_only and self._rows() == self._rows_written:
            return  # reading, or writing what is there already, proves nothing
        self._rows_written = self._rows()
        if self._clock.monotonic() - self._refused_at_s < _RETRY_S:
            return  # perhaps only the last free page: each new refusal would be another alarm
        self.trouble = ""
        log.info("store.back")
        self._calm(self._told)

    def _rows(self) -> int:
        return self.inner.store.database.written


class SingleAttemptStore:
    """An `AsyncStore` for callers with delays of their own: one attempt, logged like the others.

    Args:
        retrying: The store that logs refusals; whoever made it closes it.
    """

    def __init__(self, retrying: RetryingStore) -> None:
        self._retrying = retrying

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)` once.

        Raises:
            StoreUnavailable: If the disk is full or cannot be written.
        """
        return await self._retrying.call_once(method, *args, **kwargs)
