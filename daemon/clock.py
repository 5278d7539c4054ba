"""The one place that reads real time, and the venue's clock built on it.

Everything else takes a `Clock`, so that no test waits, and judges bar closes and
graces on a `VenueClock`, so that a recording replayed at 500 x behaves like the
live venue.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Real time, as far as the rest of the daemon may see it."""

    def now_ms(self) -> int:
        """Return the wall clock in ms UTC; it may step."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the wall clock in ms UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds since some fixed point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        await asyncio.sleep(seconds)


class VenueClock:
    """The venue's time, learnt from its `exchangeStatus` and carried on monotonically.

    `speed` is venue seconds per wall second: 1 on the real venue, more on a replay
    exchange. Until the first `learn` it trusts the wall clock.
    """

    def __init__(self, clock: Clock, speed: float = 1.0) -> None:
        self._clock, self._speed = clock, speed
        self._venue_ms, self._at = float(clock.now_ms()), clock.monotonic()
        self.uncertainty_ms = 0.0

    @property
    def speed(self) -> float:
        """Venue seconds per wall second."""
        return self._speed

    def now_ms(self) -> int:
        """Return the venue's time in ms UTC, as well as it is known."""
        elapsed = self._clock.monotonic() - self._at
        return round(self._venue_ms + elapsed * 1000 * self._speed)

    def learn(self, venue_ms: int, sent: float, received: float) -> None:
        """Take the `time` of an answer asked for at `sent` and had at `received` (monotonic s).

        The venue stamped it somewhere in between; it is taken as stamped when sent, so
        that the clock runs late rather than early: a bar is never closed too soon.
        """
        self._venue_ms, self._at = float(venue_ms), received
        self.uncertainty_ms = (received - sent) * 1000 * self._speed

    async def sleep_until(self, venue_ms: float) -> None:
        """Wait until the venue's clock shows `venue_ms`."""
        while (left := venue_ms - self.now_ms()) > 0:
            await self._clock.sleep(left / 1000 / self._speed)

    async def sleep(self, venue_s: float) -> None:
        """Wait `venue_s` seconds of venue time."""
        await self._clock.sleep(venue_s / self._speed)
