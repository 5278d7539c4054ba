"""Keep to the venue's weight limit, so that the venue never answers 429.

The limit holds for any 60 seconds of venue time, not only for full minutes. So the weight is
counted in a sliding window. Live calls may use all of it. Other calls leave them a share of
it, and wait while a more urgent call waits.
"""

import asyncio
import enum
from collections import deque
from dataclasses import dataclass

from daemon.core.clock import VenueClock
from hyperdrift.clock import Clock

_WINDOW_S = 60.0
_PAUSE_S = 1.0


class Priority(enum.Enum):
    """Order of calls: a bar that somebody waits for, then routine calls, then backfill."""

    LIVE = enum.auto()
    ROUTINE = enum.auto()
    BACKFILL = enum.auto()


_SHARE = {Priority.LIVE: 1.0, Priority.ROUTINE: 0.9, Priority.BACKFILL: 0.8}


@dataclass(slots=True)
class Spent:
    """Weight that one call has used, and when; corrected when the answer's length is known."""

    at: float
    weight: int


class WeightBudget:
    """At most `per_minute` weight in any venue minute."""

    def __init__(self, clock: Clock, venue: VenueClock, per_minute: int) -> None:
        self._clock, self._venue, self._limit = clock, venue, per_minute
        self._spent: deque[Spent] = deque()
        self._turns = {priority: asyncio.Lock() for priority in Priority}

    @property
    def per_minute(self) -> int:
        """Weight that may be spent in a minute of venue time."""
        return self._limit

    def left(self) -> int:
        """Weight that may be spent at once."""
        self._forget(self._now())
        return max(0, self._limit - sum(spent.weight for spent in self._spent))

    async def take(self, weight: int, priority: Priority) -> Spent:
        """Wait until `weight` fits, then count it as spent."""
        async with self._turns[priority]:
            while (wait_s := self._wait_s(weight, priority)) > 0:
                await self._venue.sleep(wait_s)
            spent = Spent(self._now(), weight)
            self._spent.append(spent)
            return spent

    def _now(self) -> float:
        # Venue seconds, counted on the monotonic clock. The venue's own time may jump when it
        # is learnt again; then an entry could stay longer than its minute.
        return self._clock.monotonic() * self._venue.speed

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0].at <= now - _WINDOW_S:
            self._spent.popleft()

    def _wait_s(self, weight: int, priority: Priority) -> float:
        """Return the venue seconds until `weight` may be spent; 0 if it may be spent now."""
        for other, turn in self._turns.items():
            if other is priority:
                break
            if turn.locked():
                return _PAUSE_S
        limit = self._limit * _SHARE[priority]
        now = self._now()
        self._forget(now)
        over = sum(spent.weight for spent in self._spent) + weight - limit
        wait_s = 0.0
        # A call with more weight than the limit is made when no other call is counted.
        for spent in self._spent:
            if over <= 0:
                break
            over -= spent.weight
            wait_s = spent.at + _WINDOW_S - now
        return wait_s
