"""Follow one slot: ask the venue, and carry out the steps of the bar assembler.

Every bar is stored before it is handed on. If so many bars close at once that REST confirms
some too late, a provisional bar is handed on and confirmed later (`provisional_bars`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from random import Random
from typing import Final

import structlog

from daemon.core.bars import Alarm, Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.core.errors import CoinUnserved
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rate_limit import Priority
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.anomalies import StreamAnomalies
from daemon.market_data.assembly_steps import (
    Answer,
    AskBars,
    AwaitRates,
    FindCopies,
    FutureBar,
    GiveUp,
    HandOn,
    LearnClock,
    Step,
    StoreConfirmed,
    StoreFlat,
    StoreShown,
)
from daemon.market_data.bar_assembler import BarAssembler, BarTally
from daemon.market_data.bar_close import VenueMoment, closed_t, grace_ms
from daemon.market_data.feed_troubles import Troubles
from daemon.market_data.funding import FundingSettlements
from daemon.market_data.latency_log import LatencyLog
from daemon.market_data.longer.shorter_bars import News, ShorterBars
from daemon.market_data.lost_bars import give_up, warn_of_reach
from daemon.market_data.price_checks import log_price
from daemon.market_data.stream_cache import Coverage
from daemon.store.async_store import AsyncStore
from daemon.store.bar_merge import Stored
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_ASK_AGAIN_S: Final = 10.0
_FIRST_DELAY_S, _LONGEST_DELAY_S, _LONGEST_OWN_S = 1.0, 30.0, 300.0
# If too many bars close at once, REST is asked so much later: provisional bars go first.
_RUSH_LEAD_MS: Final = 2_000

Emit = Callable[[SlotName, Bar], Awaitable[None]]


class BarFollower:
    """Follows one slot by REST; the stream's bars replace those that REST lacks.

    Args:
        slot: The slot.
        rest: The venue's REST answers.
        store: Takes every bar before it is handed on.
        venue: The venue's clock, which decides when a bar is closed.
        settlements: Fetches the funding rates that a bar may use.
        troubles: Logs errors; all slots share it, so that an outage is one line in the log.
        emit: Takes the bars; the follower waits for it.
        coverage: The time that the present socket covers.
        in_rush: Tells whether too many bars close at a time, ms UTC, to confirm each first.
        alarm: Reports lost bars to a person.

    Attributes:
        is_pushed: Whether the venue pushes the slot's candles; without that the stream's
            silence proves nothing.
        news: Tells of each bar that was handed on or confirmed.
        shorter: The shorter bars that the slot's bars are merged from; None asks REST.
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
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._turn = asyncio.Lock()  # bars are handed on one at a time, in order
        self._assembler = BarAssembler(slot.interval_ms, coverage)
        shown = self._assembler.shown
        self._anomalies = StreamAnomalies(slot, rest.oddities, shown, coverage, venue)
        self._latency = LatencyLog(slot, venue)
        self._is_warned = False
        self.is_pushed, self.news = True, News()
        self.shorter: ShorterBars | None = None
        self._record_t: int | None = None
        self._asked_at = 0.0  # monotonic s, when REST or the shorter bars were asked last
        # Open time of the newest bar that the shorter ones told last, ms UTC; None if REST did.
        self._merged_t: int | None = None

    @property
    def tally(self) -> BarTally:
        """Counts of the slot's bars since the start."""
        return self._assembler.tally

    @property
    def record_t(self) -> int | None:
        """Open time of the newest bar of record, ms UTC; None if there is none."""
        return self._record_t

    @property
    def settled_t(self) -> int:
        """Open time of the newest bar that the venue has told of, or left out, ms UTC; else 0."""
        return self._assembler.settled

    @property
    def refused(self) -> int:
        """Bars refused for their time or their prices."""
        return self._assembler.refused

    @property
    def handed_on_t(self) -> int | None:
        """Open time of the newest bar that was handed on or is in a gap, ms UTC; None if none."""
        return self._assembler.after or None

    @property
    def _is_shown(self) -> bool:
        return self.is_pushed and self.shorter is None

    async def run(self, after: int | None) -> None:
        """Hand on every bar that closes; ends only when cancelled.

        Args:
            after: Begin with the bar that follows this open time, ms UTC. None is the newest
                bar of record in the store. If there is none, begin with the next bar to close.
        """
        waits = delays(_FIRST_DELAY_S, _LONGEST_OWN_S, self._random)
        while not await self._begins(after):
            await self._venue.sleep(min(next(waits), _LONGEST_DELAY_S))
        waits = delays(_FIRST_DELAY_S, _LONGEST_OWN_S, self._random)
        while True:
            close_ms = self._assembler.next_close_ms(self._moment())
            late_ms = _RUSH_LEAD_MS if self._in_rush(close_ms) and not self.shorter else 0
            final_ms = close_ms + grace_ms(self._venue.uncertainty_ms)
            await self._wait_until(final_ms + late_ms)
            try:
                is_done = await self._advance()
                self.news.tell()
            except HyperdriftError as e:
                self._troubles.begin(self.slot, e)
                self._latency.excuse()
                self._warn()
                longest_s = _LONGEST_OWN_S if isinstance(e, CoinUnserved) else _LONGEST_DELAY_S
                await self._venue.sleep(min(next(waits), longest_s))
                continue
            self._troubles.end(self.slot)
            self._is_warned = False
            waits = delays(_FIRST_DELAY_S, _LONGEST_OWN_S, self._random)
            if not is_done:
                await self._venue.sleep(_ASK_AGAIN_S)

    async def _wait_until(self, final_ms: float) -> None:
        """Wait until a bar is final, or until a shorter one may confirm a provisional one."""
        if self.shorter and self._assembler.has_stand_ins:
            await self.shorter.news.before(self._venue, final_ms)
        else:
            await self._venue.sleep_until(final_ms)

    def push(self, bar: Bar) -> Bar | None:
        """Take a bar as the stream shows it; it is not handed on before REST was asked.

        Returns:
            The bar before it, if that is over by this: `keep` it.
        """
        at = self._moment()
        if self._assembler.may_have_begun(bar, at):
            self._anomalies.pushed(bar)
        over = self._assembler.frame(bar, at)
        self._tell()
        return over

    def offer(self, close_ms: int) -> tuple[Bar, Provenance] | None:
        """Return the bar that closed at `close_ms`, ms UTC, if the stream alone proves it final."""
        return self._assembler.offer(close_ms, self._moment()) if self._is_shown else None

    async def lead(self, bar: Bar, provenance: Provenance) -> None:
        """Hand on a stored bar before REST confirms it; do nothing if REST was faster."""
        if step := self._assembler.lead(bar, provenance):
            await self._hand_on(step)

    async def _begins(self, after: int | None) -> bool:
        """Begin where the store ends; return False if it cannot be read just now."""
        try:
            await self._begin(after)
        except HyperdriftError as e:
            self._troubles.begin(self.slot, e)
            return False
        return True

    async def _begin(self, after: int | None) -> None:
        self._latency.excuse()  # bars that closed while the daemon was off
        record = await self._store.call(Store.newest_t, self.slot, Provenance.IMPORT)
        self._record_t = record
        if after is None:
            after = closed_t(self.slot, self._venue) if record is None else record
        close = (await self._store.call(Store.bars, self.slot, to_t=after, last=1))["close"]
        self._assembler.begin(after, record, float(close[0]) if len(close) else None)

    async def _advance(self) -> bool:
        """Ask REST once, hand on the certain bars; return whether that was all closed bars."""
        with closing(self._assembler.advance(self._moment())) as steps:
            try:
                step = next(steps)
                while True:
                    self._tell()
                    rows, copies = await self._carry_out(step)
                    step = steps.send(Answer(self._moment(), rows, copies, self._merged_t))
            except StopIteration as end:
                return bool(end.value)

    async def _carry_out(self, step: Step) -> tuple[Sequence[Bar], Sequence[Stored]]:
        """Carry out a step; return the bars and the stored copies that it asks for."""
        match step:
            case AskBars(from_t, is_behind):
                return await self._ask(from_t, is_behind=is_behind), ()
            case LearnClock():
                await self._rest.learn_clock()
            case StoreConfirmed(seen, new):
                await self._confirm(seen, new)
            case AwaitRates(close_ms, is_behind):
                priority = Priority.LIVE if is_behind else Priority.ROUTINE
                await self._settlements.require(self.slot.coin, close_ms, priority)
            case StoreShown(bar):
                await self.keep(bar)
            case FindCopies(hole):
                return (), await self._store.call(Store.held, self.slot, *hole)
            case StoreFlat(bars):
                await self._store.call(Store.put_bars, self.slot, bars, Provenance.FILLED)
            case GiveUp(hole):
                await give_up(self._store, self.slot, hole, self._alarm)
            case HandOn():
                await self._hand_on(step)
        return (), ()

    async def _ask(self, from_t: int, *, is_behind: bool) -> Sequence[Bar]:
        """Return the bars since `from_t`, ms UTC: merged from shorter ones, or else REST's."""
        self._asked_at, self._merged_t = self._venue.monotonic(), None
        if (shorter := self.shorter) is not None:
            bars = await self._ask_shorter(shorter, from_t, is_behind=is_behind)
            if bars is not None:
                return bars
        priority = Priority.LIVE if is_behind else Priority.ROUTINE
        rows, self._asked_at = await self._rest.snapshot(*self.slot, from_t, priority=priority)
        return rows

    async def _ask_shorter(
        self, shorter: ShorterBars, from_t: int, *, is_behind: bool
    ) -> Sequence[Bar] | None:
        """Return the bars since `from_t`, ms UTC, as the shorter ones tell; None if REST must."""
        step = self.slot.interval_ms
        in_rush = self._in_rush(self._moment().closed_t(step) + step)
        told = await shorter.ask(from_t, is_behind=is_behind, in_rush=in_rush)
        for bar, provenance in told.bars.provisional if told else ():
            await self._store.call(Store.put_bars, self.slot, [bar], provenance)
            if in_rush:
                await self.lead(bar, provenance)
        if told is None or not told.is_enough:
            return None
        self._merged_t = told.closed_t
        return told.bars.whole

    async def _confirm(self, seen: Sequence[Bar], new: Sequence[Bar]) -> None:
        """Store REST's bars; count the bars that changed after they were handed on."""
        revised = await self._store.call(_put_confirmed, self.slot, seen, new)
        if revised:
            log.info("feed.revised", slot=str(self.slot), bars=revised)
            self.tally.revised += revised
        if self._is_shown:
            self._anomalies.confirmed([*seen, *new])
        self._record_t = max(self._record_t or 0, *(bar.t for bar in (*seen, *new)))

    async def _hand_on(self, step: HandOn) -> None:
        async with self._turn:
            led = step.led or self._merged_t is not None  # REST was not asked
            self._anomalies.handed_on(step.bar, step.provenance, led=led)
            self._latency.handed_on(step.bar.t)
            await self._emit(self.slot, step.bar)
        self.news.tell()

    async def keep(self, bar: Bar) -> None:
        """Store a bar as the stream showed it last; REST confirms it later."""
        try:
            await self._store.call(Store.put_bars, self.slot, [bar], Provenance.STREAM)
        except HyperdriftError as e:
            self._troubles.begin(self.slot, e)

    def _moment(self) -> VenueMoment:
        return VenueMoment.read(self._venue, self._asked_at)

    def _tell(self) -> None:
        """Log the notes of the assembler."""
        for note in self._assembler.take_notes():
            if isinstance(note, FutureBar):
                t, source = note.bar.t, note.source
                log.warning("feed.future_bar", slot=str(self.slot), t=t, source=source)
            else:
                log_price(self.slot, note)

    def _warn(self) -> None:
        """Warn once if the venue will soon not serve the missing bars any more."""
        self._is_warned = self._is_warned or warn_of_reach(
            self.slot, self._assembler.confirmed, self._venue, self._alarm
        )


def _put_confirmed(store: Store, slot: SlotName, seen: Sequence[Bar], new: Sequence[Bar]) -> int:
    """Store both in one turn of the store's thread; return how many of `seen` changed."""
    result = store.put_bars(slot, seen, Provenance.REST)
    store.put_bars(slot, new, Provenance.REST)
    return result.revised
