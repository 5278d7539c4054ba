"""A store that waits for its disk: what was decided is written down, however long that takes.

A disk that is full or read-only for a while must neither end the daemon nor lose an event. The
live model stays loaded, the bot goes on with its own, and whatever needs the store waits
in its turn until somebody has made room.
"""

import asyncio
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

import structlog

from daemon.store.database import StoreUnavailable
from daemon.store.store import AsyncStore, Store
from hyperdrift.clock import Clock

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

_AGAIN_S: Final = 2.0


async def patiently(work: Callable[[], R], clock: Clock) -> R:
    """Return what `work` does, called in a thread, again and again while the disk refuses it."""
    trouble = ""
    while True:
        try:
            result = await asyncio.to_thread(work)
        except StoreUnavailable as e:
            if not trouble:
                log.error("store.unavailable", why=str(e), outcome="waiting for it")  # noqa: TRY400 - no trace
            trouble = str(e)
            await clock.sleep(_AGAIN_S)
        else:
            if trouble:
                log.info("store.back")
            return result


class PatientStore(AsyncStore):
    """The same store for those who cannot go on without it; `trouble` says what it waits for.

    Args:
        inner: The store.
        clock: Paces the attempts.
        alarm: Told in words when the waiting begins.
    """

    def __init__(
        self, inner: AsyncStore, clock: Clock, alarm: Callable[[str], None] = lambda _: None
    ) -> None:
        self.store, self.inner, self._clock, self._alarm = inner.store, inner, clock, alarm
        self._refused_at, self._written_then = 0.0, 0
        self.trouble = ""

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)`; wait while the disk is full or cannot be written."""
        while True:
            try:
                return await self.attempt(method, *args, **kwargs)
            except StoreUnavailable:
                await self._clock.sleep(_AGAIN_S)

    async def attempt(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)` once, and tell of it if the disk refuses.

        Raises:
            StoreUnavailable: If it does.
        """
        try:
            result = await self.inner.call(method, *args, **kwargs)
        except StoreUnavailable as e:
            self._begin(str(e))
            raise
        self._end()
        return result

    def close(self) -> None:
        """Close the store."""
        self.inner.close()

    def _begin(self, why: str) -> None:
        self._refused_at, self._written_then = self._clock.monotonic(), self.store.database.written
        if not self.trouble:
            outcome = "the live model goes on answering; what is to be written waits"
            log.error("store.unavailable", why=why, outcome=outcome)
            self._alarm(f"{why}; {outcome}")
        self.trouble = why

    def _end(self) -> None:
        """Believe that the disk is back once it took something, and refused nothing for a while."""
        if not self.trouble or self.store.database.written == self._written_then:
            return  # to read, or to write what is there already, proves nothing
        self._written_then = self.store.database.written
        if self._clock.monotonic() - self._refused_at < _AGAIN_S:
            return  # the last free page, perhaps: each return would be an alarm more
        self.trouble = ""
        log.info("store.back")


class ImpatientStore(AsyncStore):
    """A patient store for those who try again in their own way: told of, but not waited for."""

    def __init__(self, patient: PatientStore) -> None:
        self.store, self._patient = patient.store, patient

    async def call(
        self, method: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `method(store, ...)`.

        Raises:
            StoreUnavailable: If the disk is full or cannot be written.
        """
        return await self._patient.attempt(method, *args, **kwargs)

    def close(self) -> None:
        """Leave it to whom it belongs."""
