"""Deliver the closed bars of all slots: in order, each once, and stored before.

The venue repeats nothing after a lost connection or a restart. So the follower of each slot
asks REST for all bars since the last one that it handed on. The stream fills in bars that
REST does not have. A provisional bar is handed on only if more bars close at once than
REST's weight confirms (`provisional_bars`).
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random
from typing import Final

import structlog

from daemon.core.bars import Alarm, Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.frames import CandleFrame, Trade, Trades
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream, Connected, Disconnected
from daemon.market_data.backfill import Backfill
from daemon.market_data.bar_follower import BarFollower, Troubles
from daemon.market_data.funding import FundingSettlements
from daemon.market_data.lost_bars import warn_of_reach
from daemon.market_data.provisional_bars import ProvisionalBars
from daemon.market_data.stream_cache import Coverage
from daemon.mqtt.messages import FeedState, VenueState
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_QUEUE_BARS: Final = 1024
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 60.0
# One answer that cannot be read may be a passing fault; this many are another protocol.
_MISREADINGS: Final = 5


class Feed:
    """The closed bars of some slots.

    Args:
        rest: The venue's REST answers.
        stream: The venue's pushes; this object runs it.
        store: Takes every bar before it is delivered.
        venue: The venue's clock; somebody else calls `rest.learn_clock` at intervals.
        slots: The slots to follow; their coins exist (`rest.require_coins`).
        after: Where to begin, by slot: with the bar that follows this open time, ms UTC.
            Without it a slot begins after its newest bar of record in the store, or with the
            next bar to close.
        on_trade: Takes each trade that the stream shows, repeats included.
        alarm: Reports to a person bars that are lost, or soon will be.
    """

    def __init__(
        self,
        rest: RestClient,
        stream: CandleStream,
        store: AsyncStore,
        venue: VenueClock,
        slots: Sequence[SlotName],
        *,
        after: Mapping[SlotName, int] | None = None,
        on_trade: Callable[[Trade], None] | None = None,
        alarm: Alarm = lambda *_: None,
    ) -> None:
        self._on_trade = on_trade
        self._rest, self._stream, self._store, self._venue = rest, stream, store, venue
        self._after, self._alarm = after or {}, alarm
        self._history = Backfill(rest, store, venue, alarm)
        self._troubles, self._coverage = Troubles(), Coverage()
        self._lacking: dict[SlotName, int] = {}
        self._rush = ProvisionalBars(slots, rest.weight_per_minute)
        # While the queue is full, the followers wait; no bar is dropped.
        self._bars: asyncio.Queue[tuple[SlotName, Bar]] = asyncio.Queue(_QUEUE_BARS)
        self._settlements = FundingSettlements(rest, store, venue, slots, alarm)
        self._followers = {
            slot: BarFollower(
                slot,
                rest,
                store,
                venue,
                settlements=self._settlements,
                troubles=self._troubles,
                emit=self._emit,
                alarm=alarm,
                coverage=self._coverage,
                in_rush=self._rush.is_on,
            )
            for slot in slots
        }

    async def run(self) -> None:
        """Follow all slots; ends only when cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for slot, follower in self._followers.items():
                tasks.create_task(follower.run(self._after.get(slot)), name=f"follow-{slot}")
            tasks.create_task(self._stream.run(), name="stream")
            tasks.create_task(self.listen(), name="feed-pushes")
            coins = {slot.coin for slot in self._followers}
            tasks.create_task(self._settlements.run(coins), name="feed-funding")
            tasks.create_task(self._fill_lacking(), name="feed-backfill")
            if self._rush.is_possible:
                followers = self._followers.values()
                work = self._rush.run(followers, self._store, self._venue, self._troubles)
                tasks.create_task(work, name="feed-rush")

    @property
    def slots(self) -> tuple[SlotName, ...]:
        """The slots that are followed."""
        return tuple(self._followers)

    def state(self, slot: SlotName) -> FeedState:
        """Return the counts of a slot's bars since the start."""
        follower = self._followers[slot]
        tally = follower.tally
        refused = self._rest.tally.refused[slot] + self._stream.refused[slot] + follower.refused
        return FeedState(
            confirmed=tally.confirmed,
            provisional=tally.provisional,
            filled=tally.filled,
            revised=tally.revised,
            refused=refused,
            gaps=tally.gaps,
            record_t=follower.record_t,
            oddities=self._rest.oddities.of_slot(slot),
        )

    def trouble(self, slot: SlotName) -> str:
        """Return what keeps the bars of a slot from coming; empty if nothing is known."""
        return self._troubles.why(slot)

    def venue_state(self) -> VenueState:
        """Return the state of the connections to the venue, and the weight left this minute."""
        return VenueState(
            connected=self._coverage.is_whole,
            reconnects=self._coverage.reconnects,
            weight_left=self._rest.weight_left(),
            weight_per_minute=self._rest.weight_per_minute,
            retries=self._rest.tally.retries,
            throttled=self._rest.tally.throttled,
            clock_jumps=self._venue.jumps,
            oddities=self._rest.oddities.of_all(),
        )

    async def bars(self) -> AsyncIterator[tuple[SlotName, Bar]]:
        """Yield each closed bar once, ascending per slot, as soon as it is confirmed and stored."""
        while True:
            yield await self._bars.get()

    async def backfill(self, since: Mapping[SlotName, int]) -> None:
        """Store the bars and funding that the venue still serves; call it before `run`.

        If the venue does not answer, this waits for it. If its answers of a slot cannot be
        read five times, `run` tries that slot again. Holes that cannot be filled are in
        `Store.gaps`.

        Args:
            since: Where to begin, by slot, ms UTC.
        """
        for slot, from_ms in since.items():
            if not await self._fill(slot, from_ms, _MISREADINGS):
                self._lacking[slot] = from_ms

    async def _fill_lacking(self) -> None:
        for slot, from_ms in self._lacking.items():
            await self._fill(slot, from_ms)

    async def _fill(self, slot: SlotName, from_ms: int, most: float = math.inf) -> bool:
        """Fetch the past of a slot; return False if the answers cannot be read `most` times."""
        is_warned, misread = False, 0
        waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, Random())  # noqa: S311 - jitter
        while True:
            try:
                await self._history.fetch(slot, from_ms)
            except HyperdriftError as e:
                self._troubles.begin(slot, e)
                misread += not e.transient
                if misread >= most:
                    later = "its past is asked for again while it is followed"
                    log.error(  # noqa: TRY400 - no trace
                        "feed.backfill_put_off", slot=str(slot), why=str(e), outcome=later
                    )
                    return False
                is_warned = is_warned or await self._warn(slot)
                await self._venue.sleep(next(waits))
            else:
                self._troubles.end(slot)
                return True

    async def _warn(self, slot: SlotName) -> bool:
        try:
            newest = await self._store.call(Store.newest_t, slot, Provenance.IMPORT)
        except HyperdriftError:  # the store fails, and that was logged
            return False
        return newest is not None and warn_of_reach(slot, newest, self._venue, self._alarm)

    async def _emit(self, slot: SlotName, bar: Bar) -> None:
        await self._bars.put((slot, bar))

    async def listen(self) -> None:
        """Take the events of the stream, as a part of `run`; ends only when cancelled."""
        loss = LogOnce()
        while True:
            match await self._stream.events.get():
                case CandleFrame(slot, bar):
                    self._coverage.heard(self._venue.now_ms())
                    await self._followers[slot].push(bar)
                case Trades(trades):
                    if self._on_trade:
                        for trade in trades:
                            self._on_trade(trade)
                case Connected():
                    self._coverage.connected(self._venue.now_ms())
                    log.info("feed.stream_back" if loss.ends() else "feed.stream_connected")
                case Disconnected(why, expected):
                    self._coverage.disconnected()
                    if expected:
                        log.info("feed.stream_renewed", why=why)
                    elif loss.begins():
                        log.warning("feed.stream_lost", why=why)
