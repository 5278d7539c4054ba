"""One slot's closed bars, in order, once each, confirmed before anybody sees them.

The stream may lose the last state of a bar, and shows none at all of a bar without
trades; REST knows better, but not what was traded while it lags, and nothing of the
quiet time since the last trade. What is made of both is decided here. Only where so
many bars close at once that REST's turn comes too late (`provisional_bars`) is a bar handed
on as the stream showed it, and confirmed after.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final

import structlog

from daemon.core.bars import Alarm, Bar, Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.anomaly_log import CALM_MS
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rate_limit import Priority
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.anomalies import StreamAnomalies
from daemon.market_data.bar_close import (
    LONGEST_FILL_BARS,
    QUIET_AFTER_MS,
    closed_t,
    flat_bars,
    grace_ms,
    newest_final_t,
)
from daemon.market_data.funding import FundingSettlements
from daemon.market_data.latency_log import LatencyLog
from daemon.market_data.lost_bars import give_up, warn_of_reach
from daemon.market_data.price_checks import PriceChecks, plausible
from daemon.market_data.stream_cache import Coverage, StreamCache
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_ASK_AGAIN_S: Final = 10.0
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0
# A bar that did not come from REST is asked for again with every call for about so long.
_REREAD_BARS: Final = 48
_CLOCK_AGE_S: Final = 10.0
_NO_LIMIT: Final = 2**62
# In a rush REST is asked after the stream's bars were handed on.
_RUSH_LEAD_MS: Final = 2_000

Emit = Callable[[SlotName, Bar], Awaitable[None]]


class Troubles:
    """What keeps bars from coming, logged once per kind for as long as it lasts."""

    def __init__(self) -> None:
        self._of: dict[SlotName, str] = {}

    def begin(self, slot: SlotName, error: HyperdriftError) -> None:
        """A slot cannot go on."""
        kind = type(error).__name__
        if kind not in self._of.values():
            log.warning("feed.trouble", slot=str(slot), why=str(error))
        self._of[slot] = kind

    def end(self, slot: SlotName) -> None:
        """A slot goes on."""
        if self._of.pop(slot, None) and not self._of:
            log.info("feed.recovered", slot=str(slot))


@dataclass(slots=True)
class FollowerTally:
    """What became of a slot's bars since the start.

    Attributes:
        confirmed: Bars that REST confirmed.
        provisional: Bars handed on as the stream showed them.
        filled: Bars handed on flat, because nobody traded as far as anybody knows.
        revised: Bars that REST changed after they were handed on.
        refused: Frames of the stream from the future.
        gaps: Bars given up.
    """

    confirmed: int = 0
    provisional: int = 0
    filled: int = 0
    revised: int = 0
    refused: int = 0
    gaps: int = 0


class BarFollower:
    """Follows one slot from REST, with the stream's bars as a reserve.

    Args:
        slot: Whose bars.
        rest: The venue.
        store: Where every bar is before it is handed on.
        venue: Decides when a bar is closed.
        settlements: Brings the funding rates that a bar may use.
        troubles: Shared, so that an outage of the venue is one line in the log.
        emit: Takes the bars; may wait, the follower waits with it.
        coverage: What the stream's silence means.
        in_rush: Whether too many bars close at a time for each to be confirmed first.
        alarm: Takes what a person must know of lost bars.
    """

    def __init__(
        self,
        slot: SlotName,
        rest: RestClient,
        store: AsyncStore,
        venue: VenueClock,
        *,
        settlements: FundingSettlements,
        troubles: Troubles,
        emit: Emit,
        alarm: Alarm,
        coverage: Coverage,
        in_rush: Callable[[int], bool],
    ) -> None:
        self.slot, self._rest, self._store, self._venue = slot, rest, store, venue
        self._settlements, self._troubles, self._emit = settlements, troubles, emit
        self._coverage, self._in_rush, self._alarm = coverage, in_rush, alarm
        self._step = slot.interval_ms
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._turn = asyncio.Lock()  # who hands on: the rush or the confirmed bars
        self._after = 0  # the newest bar handed on
        self._close: float | None = None  # its close
        self._asked = 0  # the newest bar about which REST was asked to the end
        self._confirmed = 0  # the newest bar that REST confirmed
        self._from_t = 0  # where the next question begins
        self._stand_ins: set[int] = set()  # bars handed on that REST has not confirmed
        self._shown, self._doubts = StreamCache(), PriceChecks(slot)
        self._habits = StreamAnomalies(slot, rest.oddities, self._shown, coverage, venue)
        self._lateness = LatencyLog(slot, venue)
        self._is_warned = False
        self._future_ms: int | None = None  # when the venue last showed a bar from the future
        self.tally = FollowerTally()

    @property
    def refused(self) -> int:
        """Bars refused for their time or their prices."""
        return self.tally.refused + self._doubts.refused

    async def run(self, after: int | None) -> None:
        """Hand on every bar that closes; ends only when cancelled.

        Args:
            after: Begin with the bar that follows this t; None is the newest bar of record in
                the store, or only what closes from now on if there is none.
        """
        await self._begin(after)
        waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        while True:
            # The clock may have been set back since: then what was asked was too early.
            asked = min(self._asked, closed_t(self.slot, self._venue))
            close_ms = asked + 2 * self._step
            late_ms = _RUSH_LEAD_MS if self._in_rush(close_ms) else 0
            await self._venue.sleep_until(close_ms + grace_ms(self._venue.uncertainty_ms) + late_ms)
            try:
                is_done = await self._advance()
            except HyperdriftError as e:
                self._troubles.begin(self.slot, e)
                self._lateness.excuse()
                self._warn()
                await self._venue.sleep(next(waits))
                continue
            self._troubles.end(self.slot)
            self._is_warned = False
            waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
            if not is_done:
                await self._venue.sleep(_ASK_AGAIN_S)

    async def push(self, bar: Bar) -> None:
        """Take a bar as the stream shows it: kept, not handed on before REST was asked."""
        if bar.t > self._venue.now_ms() + self._venue.uncertainty_ms + self._step:
            self.tally.refused += 1
            self._report_future(bar, "stream")
            return
        self._habits.pushed(bar)
        over = self._shown.take(bar, self._coverage.socket)
        if over is not None and over.t > self._confirmed:
            # The next bar has begun: the stream will not show this one again.
            await self._keep(over)

    def offer(self, close_ms: int) -> tuple[Bar, Provenance] | None:
        """Return the bar that closed at a time if the stream alone is proof of it.

        None also where it was handed on already, or bars before it are lacking.
        """
        t = close_ms - self._step
        if t != self._after + self._step or self._close is None:
            return None
        final_ms = close_ms + grace_ms(self._venue.uncertainty_ms)
        if bar := self._shown.final(t, final_ms, self._coverage):
            return (bar, Provenance.STREAM) if plausible(bar, self._close) else None
        if self._shown.is_quiet(t, final_ms, self._coverage):
            flat = flat_bars(Hole(t, t), self._close, self._step)[0]
            return flat, Provenance.FILLED
        return None

    async def lead(self, bar: Bar, provenance: Provenance) -> None:
        """Hand on a stored bar before REST confirms it; nothing if REST was faster."""
        async with self._turn:
            if bar.t == self._after + self._step:
                await self._hand_over(bar, provenance, led=True)

    async def _begin(self, after: int | None) -> None:
        self._lateness.excuse()  # what closed while nobody was here
        record = await self._store.call(Store.newest_t, self.slot, Provenance.IMPORT)
        if after is None:
            after = closed_t(self.slot, self._venue) if record is None else record
        self._after = self._asked = after
        self._confirmed = after if record is None else min(after, record)
        self._from_t = self._confirmed + (self._step if record is None else 0)
        close = (await self._store.call(Store.bars, self.slot, to_t=after, last=1))["close"]
        self._close = float(close[0]) if len(close) else None

    async def _advance(self) -> bool:
        """Ask once and hand on what is certain; return whether nothing closed is left."""
        is_ahead = self._after >= closed_t(self.slot, self._venue)
        priority = Priority.ROUTINE if is_ahead else Priority.LIVE
        rows, asked_at = await self._rest.snapshot(*self.slot, self._from_t, priority=priority)
        rows, most = self._believed(await self._without_future(rows))
        evident = rows[-1].t - self._step if rows else self._confirmed  # a later bar exists
        late = evident < self._closed(asked_at)
        closed = min(most, await self._compared(asked_at, evident) if late else evident)
        certain = [bar for bar in rows if bar.t <= closed]
        async with self._turn:
            await self._confirm(certain)
        await self._settlements.require(self.slot.coin, closed + self._step, priority)
        async with self._turn:
            await self._hand_on(certain, closed)
        due = self._closed(asked_at)  # by the clock as it is known now
        if self._after < due or closed < due:
            return False
        self._asked = max(self._asked, min(self._after, closed))
        return True

    def _believed(self, rows: list[Bar]) -> tuple[list[Bar], int]:
        """Leave out what is not to be believed yet; return the rest and its last possible t."""
        shown = self._shown.bar(self._after + self._step)
        doubted = self._doubts.first(rows, self._close, self._venue.now_ms(), shown)
        if doubted is None:
            return rows, _NO_LIMIT
        return [bar for bar in rows if bar.t < doubted], doubted - self._step

    async def _confirm(self, certain: list[Bar]) -> None:
        """Store what REST says, and count what it changed of bars that were handed on."""
        if not certain:
            return
        seen = [bar for bar in certain if bar.t <= self._after]
        new = [bar for bar in certain if bar.t > self._after]
        result = await self._store.call(Store.put_bars, self.slot, seen, Provenance.REST)
        await self._store.call(Store.put_bars, self.slot, new, Provenance.REST)
        if result.revised:
            log.info("feed.revised", slot=str(self.slot), bars=result.revised)
            self.tally.revised += result.revised
        self._habits.confirmed(certain)
        proved = {bar.t for bar in certain}
        fresh = {t for t in proved if t > self._confirmed or t in self._stand_ins}
        self.tally.confirmed += len(fresh)
        self._confirmed = max(self._confirmed, certain[-1].t)
        oldest = self._confirmed - _REREAD_BARS * self._step
        self._stand_ins = {t for t in self._stand_ins - proved if t >= oldest}
        # The newest is read once more: what came after a close that was judged too early.
        self._from_t = min([*self._stand_ins, self._confirmed])

    async def _without_future(self, rows: list[Bar]) -> list[Bar]:
        """Leave out bars that cannot have begun; look at the venue's clock before saying so."""
        if rows and rows[-1].t > self._venue.now_ms():
            await self._rest.learn_clock()
            latest_ms = self._venue.now_ms() + self._venue.uncertainty_ms
            if rows[-1].t > latest_ms:
                self.tally.refused += 1
                self._report_future(rows[-1], "rest")
            return [bar for bar in rows if bar.t <= latest_ms]
        return rows

    async def _hand_on(self, certain: list[Bar], closed: int) -> None:
        """Hand on the bars up to `closed`; stop before one that may still come."""
        known = {bar.t: (bar, Provenance.REST) for bar in certain}
        while (t := self._after + self._step) <= closed:
            if t not in known:
                later = next((bar.t for bar in certain if bar.t > t), None)
                found = await self._stand_in(t, later, closed)
                if found is None:
                    return
                known |= found
                continue
            await self._hand_over(*known[t])

    async def _hand_over(self, bar: Bar, provenance: Provenance, *, led: bool = False) -> None:
        if provenance is Provenance.STREAM:
            self.tally.provisional += 1
        elif provenance is Provenance.FILLED:
            self.tally.filled += 1
        if provenance in {Provenance.STREAM, Provenance.FILLED}:
            self._stand_ins.add(bar.t)
        self._habits.handed_on(bar, provenance, led=led)
        self._lateness.handed_on(bar.t)
        await self._emit(self.slot, bar)
        self._after, self._close = bar.t, bar.close

    async def _stand_in(
        self, t: int, later: int | None, closed: int
    ) -> dict[int, tuple[Bar, Provenance]] | None:
        """Replace bars from `t` on that REST lacks: by stored copies, by flat ones, by a gap.

        Args:
            t: The first bar that is lacking.
            later: The next bar that REST has; None if `t` belongs to the quiet tail.
            closed: The newest closed bar.

        Returns:
            Bars by t; None if it is too early to tell.
        """
        if self._venue.now_ms() < t + self._step + QUIET_AFTER_MS:
            return None
        if shown := self._shown.bar(t):
            await self._keep(shown)
        to_t = closed if later is None else later - self._step
        copies = await self._store.call(Store.held, self.slot, t, to_t)
        held = {copy.bar.t: (copy.bar, copy.provenance) for copy in copies}
        if t in held:
            return held
        hole = Hole(t, min(held, default=to_t + self._step) - self._step)
        if self._close is None:
            self._after = hole.to_t  # nothing was ever known of this market: nothing is lost
            return {}
        if later is not None and hole.to_t - t >= LONGEST_FILL_BARS * self._step:
            await give_up(self._store, self.slot, hole, self._alarm)
            self.tally.gaps += (hole.to_t - t) // self._step + 1
            self._after = hole.to_t
            return {}
        if later is None:
            hole = Hole(t, t)  # its neighbours are not overdue yet, or asked about in turn
        flat = flat_bars(hole, self._close, self._step)
        await self._store.call(Store.put_bars, self.slot, flat, Provenance.FILLED)
        return {bar.t: (bar, Provenance.FILLED) for bar in flat}

    async def _compared(self, asked_at: float, evident: int) -> int:
        """Believe our own clock alone only after a look at the venue's, which may stand still."""
        if self._venue.age_s() > _CLOCK_AGE_S:
            await self._rest.learn_clock()
        return max(evident, self._closed(asked_at)) if self._venue.is_trusted else evident

    def _closed(self, asked_at: float) -> int:
        """Open time of the newest bar that was closed when the venue was asked."""
        at_ms = self._venue.at_ms(asked_at)
        return newest_final_t(self._step, at_ms, self._venue.uncertainty_ms)

    async def _keep(self, bar: Bar) -> None:
        """Store a bar as the stream last showed it, until REST confirms it."""
        if not plausible(bar, self._close):
            self._doubts.refuse_shown(bar, self._close)
            return
        try:
            await self._store.call(Store.put_bars, self.slot, [bar], Provenance.STREAM)
        except HyperdriftError as e:
            self._troubles.begin(self.slot, e)

    def _report_future(self, bar: Bar, source: str) -> None:
        """Say that the venue shows a bar that cannot have begun, when it begins to."""
        now_ms = self._venue.now_ms()
        if self._future_ms is None or abs(now_ms - self._future_ms) >= CALM_MS:
            log.warning("feed.future_bar", slot=str(self.slot), t=bar.t, source=source)
        self._future_ms = now_ms

    def _warn(self) -> None:
        """Say once, in time, that bars are about to leave what the venue still serves."""
        self._is_warned = self._is_warned or warn_of_reach(
            self.slot, self._confirmed, self._venue, self._alarm
        )
