"""Fetch the past bars and funding of a slot that the venue still serves; note gaps.

The venue serves the newest 5000 bars and all funding rates. At its start the daemon fetches
those that the store lacks. Holes that cannot be filled are stored as gaps, so that nothing
takes them for times without trades.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import structlog

from daemon.core.bars import REACH_BARS, Alarm, Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.rate_limit import Priority
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.bar_close import LONGEST_FILL_BARS, closed_t, flat_bars
from daemon.market_data.import_checks import tell_bars, tell_rates
from daemon.market_data.longer.shorter_bars import merge_past
from daemon.market_data.lost_bars import give_up
from daemon.market_data.price_checks import INSIST_MS, PriceChecks, log_price
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName

log = structlog.get_logger()

# The follower of a slot asks for so many bars with the weight of one.
TAIL_BARS: Final = 60
# In 2023 rates were settled every eight hours: the newest one may be that old.
_FUNDING_LEAD_MS: Final = 9 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Backfill:
    """Fetches past bars and funding into the store.

    Attributes:
        rest: The venue's REST answers.
        store: Takes the bars and rates.
        venue: The venue's clock.
        alarm: Reports bars that are lost.
        shorter: Returns the slot whose bars a slot's bars are merged from, None without one. It
            has its past before.
    """

    rest: RestClient
    store: AsyncStore
    venue: VenueClock
    alarm: Alarm = lambda *_: None
    shorter: Callable[[SlotName], SlotName | None] = lambda _: None

    async def fetch(self, slot: SlotName, from_ms: int, *, tail_bars: int = 0) -> None:
        """Store all bars and funding of a slot that the venue serves since `from_ms`, ms UTC.

        Args:
            slot: The slot.
            from_ms: Since when, ms UTC.
            tail_bars: If no more than so many bars are missing, and all at the end, they and
                their funding are left to the slot's follower.

        Raises:
            Unreachable: If the venue does not answer.
            SchemaChanged: If its answer has an unknown shape.
            StoreUnavailable: If the store cannot be written.
        """
        step = slot.interval_ms
        from_t = -(-from_ms // step) * step
        reach_t = max(from_t, closed_t(slot, self.venue) - (REACH_BARS - 1) * step)
        await self.check_imports(slot, reach_t)
        if (first := await self._first_lacking(slot, reach_t)) is not None:
            first = await self._merge_bars(slot, first)
        newest = closed_t(slot, self.venue)
        is_tail = first is not None and reach_t < first and newest - first < tail_bars * step
        if first is not None and not is_tail:
            await self._fetch_bars(slot, first)
        await self._mend(slot, from_t, reach_t)
        is_left = tail_bars > 0 and (first is None or is_tail)
        await self._fetch_funding(slot, from_t, to_ms=newest if is_left else None)

    async def check_imports(self, slot: SlotName, reach_t: int) -> None:
        """Ask the venue once for the imported bars that it still serves; take and tell its own.

        Args:
            slot: The slot.
            reach_t: The oldest bar that the venue may serve, ms UTC.

        Raises:
            Unreachable: If the venue does not answer.
            SchemaChanged: If its answer has an unknown shape.
            StoreUnavailable: If the store cannot be written.
        """
        parts = await self.store.call(lambda s: s.imports.unchecked(slot, reach_t))
        if not parts:
            return
        first = min(int(part.bars.t[0]) for part in parts)
        bars = await self._fetch_bars(slot, first)
        tell_bars(slot, parts, bars, self.alarm)
        await self.store.call(lambda s: s.imports.mark_checked(slot, parts))

    async def _first_lacking(self, slot: SlotName, from_t: int) -> int | None:
        """Return the open time of the oldest closed bar since `from_t` that is not of record."""
        closed = closed_t(slot, self.venue)
        sure = await self.store.call(lambda s: s.imports.sure_times(slot, from_t, closed))
        lacking = np.setdiff1d(np.arange(from_t, closed + 1, slot.interval_ms), sure)
        return int(lacking[0]) if len(lacking) else None

    async def _merge_bars(self, slot: SlotName, from_t: int) -> int | None:
        """Merge the bars since `from_t` from shorter ones; return the first that is lacking."""
        shorter, closed = self.shorter(slot), closed_t(slot, self.venue)
        # REST has the older ones anyway, and all bars in one answer.
        if not shorter or from_t < closed - (REACH_BARS - 1) * shorter.interval_ms:
            return from_t
        result = await self.store.call(merge_past, slot, shorter, from_t, closed)
        log.info("feed.backfilled", slot=str(slot), from_t=from_t, **result._asdict())
        return await self._first_lacking(slot, from_t)

    async def _fetch_bars(self, slot: SlotName, from_t: int) -> list[Bar]:
        closed = closed_t(slot, self.venue)
        bars = [bar for bar in await self._believed(slot, from_t) if bar.t <= closed]
        result = await self.store.call(Store.put_bars, slot, bars, Provenance.REST)
        log.info("feed.backfilled", slot=str(slot), from_t=from_t, **result._asdict())
        return bars

    async def _believed(self, slot: SlotName, from_t: int) -> list[Bar]:
        """Fetch bars; if a price is doubted, ask again a minute later."""
        checks = PriceChecks(partial(log_price, slot))
        close = await self.store.call(_close_before, slot, from_t)
        rows: list[Bar] = []
        for wait_s in (INSIST_MS / 1000, 0.0):
            rows = await self.rest.candles(*slot, from_t, priority=Priority.BACKFILL)
            doubted = checks.first(rows, close, self.venue.now_ms())
            if doubted is None:
                return rows
            rows = [bar for bar in rows if bar.t < doubted]
            await self.venue.sleep(wait_s)
        return rows  # the follower asks for the other bars, until their prices are believed

    async def _mend(self, slot: SlotName, from_t: int, reach_t: int) -> None:
        """Fill short holes, in which nobody traded; store long ones as gaps."""
        known = set(await self.store.call(Store.gaps, slot))
        for hole in await self.store.call(Store.missing, slot, from_t):
            bars = (hole.to_t - hole.from_t) // slot.interval_ms + 1
            before = hole.from_t - slot.interval_ms
            if hole.from_t >= reach_t and bars <= LONGEST_FILL_BARS:
                last = (await self.store.call(Store.held, slot, before, before))[0].bar
                flat = flat_bars(hole, last.close, slot.interval_ms)
                await self.store.call(Store.put_bars, slot, flat, Provenance.FILLED)
            elif hole not in known:
                await give_up(self.store, slot, hole, self.alarm)

    async def _fetch_funding(self, slot: SlotName, from_t: int, to_ms: int | None) -> None:
        """Fetch the rates since the oldest bar, up to the newest or to `to_ms`, ms UTC."""
        t = await self.store.call(Store.oldest_t, slot, from_t)
        if t is None:
            return
        coin, wanted = slot.coin, t - _FUNDING_LEAD_MS
        oldest = await self.store.call(Store.oldest_funding_time, coin)
        newest = await self.store.call(Store.newest_funding_time, coin)
        spans: list[tuple[int, int | None]] = []
        if oldest is None or newest is None:
            spans.append((wanted, None))
        else:
            if oldest - wanted > HOUR_MS:
                spans.append((wanted, oldest - 1))
            is_due = to_ms is None or to_ms - newest > _FUNDING_LEAD_MS
            # One may be settled since.
            if is_due and self.venue.now_ms() // HOUR_MS > newest // HOUR_MS:
                spans.append((newest + 1, None))
        for start, end in spans:
            rates = await self.rest.funding(coin, start, end, priority=Priority.BACKFILL)
            await tell_rates(self.store, slot, rates, self.alarm)
            await self.store.call(Store.put_funding, coin, rates)


def _close_before(store: Store, slot: SlotName, t: int) -> float | None:
    """Return the close before `t`, ms UTC; None if there is none, or only an import says so."""
    before = store.bars(slot, to_t=t - 1, last=1)["t"].tolist()
    copies = [copy for at in before for copy in store.held(slot, at, at)]
    return next((s.bar.close for s in copies if s.provenance is not Provenance.IMPORT), None)
