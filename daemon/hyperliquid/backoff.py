"""How long to wait before trying again: longer each time, and never in step with others."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random

from hyperdrift.clock import Clock


def delays(first_s: float, most_s: float, random: Random) -> Iterator[float]:
    """Yield waits in seconds for ever: doubling from `first_s` to `most_s`, each cut by up to half.

    The jitter keeps daemons that lost the same venue at once from returning at once.
    """
    for doubling in itertools.count():
        longest = min(most_s, first_s * 2.0 ** min(doubling, 30))
        yield longest * random.uniform(0.5, 1.0)


class Standstill:
    """Holds all callers of a failing service back together, so that many make no storm.

    While it fails one caller at a time tries, after a wait that grows from failure to
    failure; the first success lets everybody go on.
    """

    def __init__(self, clock: Clock, first_s: float, most_s: float, random: Random) -> None:
        self._clock, self._span, self._random = clock, (first_s, most_s), random
        self._waits = delays(*self._span, random)
        self._one = asyncio.Lock()
        self._began, self._until = 0.0, 0.0
        self._lasts = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold a place to try; comes at once unless the service fails."""
        if not self._lasts:
            yield
            return
        async with self._one:
            if (left := self._until - self._clock.monotonic()) > 0 and self._lasts:
                await self._clock.sleep(left)
            yield

    def failed(self, sent: float, least_s: float = 0.0) -> None:
        """Take note that a call sent at a time (monotonic s) failed; wait `least_s` or more."""
        if self._lasts and sent < self._began:
            return  # it was on its way when the others were stopped, and says nothing new
        self._lasts, self._began = True, self._clock.monotonic()
        self._until = self._began + max(least_s, next(self._waits))

    def ended(self) -> None:
        """Take note that a call was answered."""
        if self._lasts:
            self._lasts, self._waits = False, delays(*self._span, self._random)
