"""The one place that reads real time, and the venue's clock built on it.

Everything else takes a `Clock`, so that no test waits, and judges bar closes and
graces on a `VenueClock`, so that a recording replayed at 500 x behaves like the
live venue.
"""

import asyncio
import time
from typing import Final, Protocol

# A venue's clock that is suddenly further ahead than this is believed when it says so twice.
_JUMP_MS: Final = 10_000
_INSISTS_S: Final = 20.0
# A clock may be set back while somebody waits: nobody waits longer than this at once.
_LONGEST_WAIT_S: Final = 30.0


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

    A step back is believed at once: it can only make bars close later. A step ahead would
    close bars that still form, so it is believed when the venue says the same again twenty
    of its seconds later; until then `is_trusted` is False, and only a later bar proves that
    one is closed.
    """

    def __init__(self, clock: Clock, speed: float = 1.0) -> None:
        self._clock, self._speed = clock, speed
        self._venue_ms, self._at = float(clock.now_ms()), clock.monotonic()
        self._is_learnt = False
        self._claim: tuple[float, float] | None = None  # a step ahead: ms, and when it was claimed
        self.uncertainty_ms = 0.0
        self.jumps = 0

    @property
    def speed(self) -> float:
        """Venue seconds per wall second."""
        return self._speed

    @property
    def is_trusted(self) -> bool:
        """Whether what the venue last said of its time fits what it said before."""
        return self._claim is None

    def now_ms(self) -> int:
        """Return the venue's time in ms UTC, as well as it is known."""
        return self.at_ms(self._clock.monotonic())

    def at_ms(self, monotonic: float) -> int:
        """Return the venue's time at a moment of the monotonic clock, in s."""
        return round(self._carried(monotonic))

    def age_s(self) -> float:
        """Return venue seconds since its time was last learnt."""
        if not self._is_learnt:
            return float("inf")
        return (self._clock.monotonic() - self._at) * self._speed

    def learn(self, venue_ms: int, sent: float, received: float) -> None:
        """Take the `time` of an answer asked for at `sent` and had at `received` (monotonic s).

        The venue stamped it somewhere in between; it is taken as stamped when sent, so
        that the clock runs late rather than early: a bar is never closed too soon.
        """
        ahead_ms = venue_ms - self._carried(received)
        took_ms = (received - sent) * 1000 * self._speed
        margin_ms = _JUMP_MS + took_ms + self.uncertainty_ms + 1000 * (self._speed - 1)
        is_jump = self._is_learnt and abs(ahead_ms) > margin_ms
        if is_jump and ahead_ms > 0 and not self._insists(ahead_ms, received, margin_ms):
            return
        self.jumps += is_jump and ahead_ms < 0
        self._claim, self._is_learnt = None, True
        self._venue_ms, self._at = float(venue_ms), received
        self.uncertainty_ms = took_ms

    async def sleep_until(self, venue_ms: float) -> None:
        """Wait until the venue's clock shows `venue_ms`."""
        while (left := venue_ms - self.now_ms()) > 0:
            await self._clock.sleep(min(left / 1000 / self._speed, _LONGEST_WAIT_S))

    async def sleep(self, venue_s: float) -> None:
        """Wait `venue_s` seconds of venue time."""
        await self._clock.sleep(venue_s / self._speed)

    def _carried(self, monotonic: float) -> float:
        return self._venue_ms + (monotonic - self._at) * 1000 * self._speed

    def _insists(self, ahead_ms: float, received: float, margin_ms: float) -> bool:
        """Tell whether a step ahead was claimed before and is claimed still."""
        if self._claim is None or abs(self._claim[0] - ahead_ms) > margin_ms:
            self._claim = (ahead_ms, received)
            self.jumps += 1
            return False
        return (received - self._claim[1]) * self._speed >= _INSISTS_S
