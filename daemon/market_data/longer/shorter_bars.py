"""Wait for the shorter bars of a slot, and read its longer bars from them.

Without this each interval of a coin would have its own push and its own call to REST, for
trades that the shortest interval has told already.
"""

import asyncio
from typing import Final, NamedTuple, Protocol

from daemon.core.bars import Provenance
from daemon.core.clock import VenueClock
from daemon.core.tasks import running
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.market_data.bar_close import closed_t
from daemon.market_data.longer.aggregation import LongerBars, longer_bars
from daemon.store.async_store import AsyncStore
from daemon.store.bar_merge import PutResult
from daemon.store.store import Store
from hyperdrift.slot_name import MINUTE_MS, SlotName

# If the shorter bars are so late, REST is asked for the longer bar. A rush takes less.
_PATIENCE_MS: Final = 10 * MINUTE_MS
# In a fast replay this much wall time may pass on this machine itself.
_LEAST_WALL_S: Final = 0.5


class News:
    """Wakes those who wait for the next bar of a slot."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Wake all that wait now."""
        for event in self._waiting:
            event.set()

    async def before(self, venue: VenueClock, venue_ms: float) -> None:
        """Wait until the next news, or until the venue's clock shows `venue_ms`."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            async with running(_wake(event, venue, venue_ms), "news-or-time"):
                await event.wait()
        finally:
            self._waiting.discard(event)


class Told(NamedTuple):
    """What the shorter bars tell.

    Attributes:
        bars: The longer bars.
        closed_t: Open time of the newest longer bar that is closed, ms UTC.
        is_enough: Whether REST need not be asked.
    """

    bars: LongerBars
    closed_t: int
    is_enough: bool


class Follower(Protocol):
    """What is needed of the follower of the shorter slot."""

    slot: SlotName
    news: News

    @property
    def handed_on_t(self) -> int | None:
        """Open time of the newest bar that was handed on or is in a gap, ms UTC."""


class ShorterBars:
    """Reads the bars of one slot from the stored bars of a shorter one.

    Args:
        slot: The slot with the longer bars.
        shorter: Follows the slot with the shorter bars.
        store: Holds the bars of both.
        venue: The venue's clock.
        oddities: Counts how often REST must be asked after all.

    Attributes:
        follower: Follows the slot with the shorter bars.
    """

    def __init__(
        self,
        slot: SlotName,
        shorter: Follower,
        store: AsyncStore,
        venue: VenueClock,
        oddities: AnomalyLog,
    ) -> None:
        self._slot, self.follower = slot, shorter
        self._store, self._venue, self._oddities = store, venue, oddities
        self._is_left = False

    @property
    def slot(self) -> SlotName:
        """The slot with the shorter bars."""
        return self.follower.slot

    @property
    def news(self) -> News:
        """Tells of each shorter bar."""
        return self.follower.news

    def leave(self) -> None:
        """Let whoever waits ask REST: the shorter slot is not followed any more."""
        self._is_left = True
        self.news.tell()

    async def ask(self, from_t: int, *, is_behind: bool, in_rush: bool) -> Told | None:
        """Return the closed bars since `from_t`, ms UTC, without those that are lacking.

        Waits for the shorter bars, for ten minutes after a close.

        Args:
            from_t: Open time of the first bar, ms UTC.
            is_behind: Whether closed bars wait for it; if not, REST need not be asked.
            in_rush: Whether provisional bars are enough.

        Returns:
            The bars; None if the shorter slot is not followed any more.

        Raises:
            StoreUnavailable: If the store cannot be read.
        """
        step, newest = self._slot.interval_ms, closed_t(self._slot, self._venue)
        is_there = await self._is_there(newest + step)
        if self._is_left:
            return None
        times = range(from_t // step * step, newest + step, step)
        bars, unsure = await self._store.call(_read, self._slot, self.slot, times)
        if in_rush:
            unsure -= {bar.t for bar, _ in bars.provisional}
        is_enough = is_there and not (is_behind and unsure)
        if not is_enough:
            self._oddities.note("shorter_bars_lacking", self._slot)
        return Told(bars, newest, is_enough)

    async def _is_there(self, close_ms: int) -> bool:
        """Wait for the last shorter bar before a time, ms UTC; return False if it is too late."""
        last_t = close_ms - self.slot.interval_ms
        until_ms = close_ms + max(_PATIENCE_MS, _LEAST_WALL_S * 1000 * self._venue.speed)
        while (self.follower.handed_on_t or 0) < last_t:
            if self._is_left or self._venue.now_ms() >= until_ms:
                return False
            await self.news.before(self._venue, until_ms)
        return True


def merge_past(
    store: Store, slot: SlotName, shorter: SlotName, from_t: int, to_t: int
) -> PutResult:
    """Store the bars of a slot that the stored bars of a shorter one tell as of record.

    Args:
        store: Holds the bars of both.
        slot: The slot with the longer bars.
        shorter: The slot with the shorter bars.
        from_t: Open time of the first longer bar, ms UTC.
        to_t: Open time of the last one, ms UTC.

    Raises:
        StoreUnavailable: If the store cannot be read or written.
    """
    times = range(from_t, to_t + 1, slot.interval_ms)
    return store.put_bars(slot, _read(store, slot, shorter, times)[0].whole, Provenance.REST)


def _read(
    store: Store, slot: SlotName, shorter: SlotName, times: range
) -> tuple[LongerBars, set[int]]:
    """Return the longer bars, and the open times of those that are not of record, ms UTC."""
    if not times:
        return LongerBars(), set()
    copies = store.held(shorter, times[0], times[-1] + slot.interval_ms - 1)
    bars = longer_bars(copies, shorter.interval_ms, slot.interval_ms, times)
    record = {
        copy.bar.t
        for copy in store.held(slot, times[0], times[-1])
        if copy.provenance is Provenance.REST
    }
    return bars, set(times) - {bar.t for bar in bars.whole} - record


async def _wake(event: asyncio.Event, venue: VenueClock, venue_ms: float) -> None:
    await venue.sleep_until(venue_ms)
    event.set()
