"""Choose how long to wait before the next try: longer each time, with jitter."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random

from hyperdrift.clock import Clock


def delays(first_s: float, most_s: float, random: Random) -> Iterator[float]:
    """Yield waits in seconds for ever: doubling from `first_s` to `most_s`, each cut by up to half.

    With this jitter, daemons that lost the venue at the same time do not all return at once.
    """
    for doubling in itertools.count():
        longest = min(most_s, first_s * 2.0 ** min(doubling, 30))
        yield longest * random.uniform(0.5, 1.0)


class Standstill:
    """Makes all callers of a failing service wait, so that they do not flood it.

    While the service fails, one caller at a time tries. The wait before a try grows with each
    failure. After the first success all callers go on.
    """

    def __init__(self, clock: Clock, first_s: float, most_s: float, random: Random) -> None:
        self._clock, self._span, self._random = clock, (first_s, most_s), random
        self._waits = delays(*self._span, random)
        self._one = asyncio.Lock()
        self._began, self._until = 0.0, 0.0
        self._lasts = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn to call the service; there is no wait unless the service fails."""
        if not self._lasts:
            yield
            return
        async with self._one:
            if (left := self._until - self._clock.monotonic()) > 0 and self._lasts:
                await self._clock.sleep(left)
            yield

    def failed(self, sent: float, least_s: float = 0.0) -> None:
        """Note that a call failed.

        Args:
            sent: When the call was sent, monotonic s.
            least_s: The next try waits at least this long, in seconds.
        """
        if self._lasts and sent < self._began:
            return  # it was sent before the failure that is known already: no new failure
        self._lasts, self._began = True, self._clock.monotonic()
        self._until = self._began + max(least_s, next(self._waits))

    def ended(self) -> None:
        """Note that a call was answered."""
        if self._lasts:
            self._lasts, self._waits = False, delays(*self._span, self._random)
