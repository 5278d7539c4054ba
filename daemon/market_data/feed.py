"""Deliver the closed bars of all slots: in order, each once, and stored before.

The venue repeats nothing after a lost connection or a restart. So the follower of each slot
asks REST for all bars since the last one that it handed on. The stream fills in bars that
REST does not have. A provisional bar is handed on only if more bars close at once than
REST's weight confirms (`provisional_bars`).
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog

from daemon.core.bars import Alarm, Bar
from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.core.slot_troubles import SlotTroubles
from daemon.core.tasks import running
from daemon.hyperliquid.frames import CandleFrame, Channel, Trade, Trades, TradesOf
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.hyperliquid.stream_events import Connected, Disconnected, Served, Unserved
from daemon.market_data.backfill import Backfill
from daemon.market_data.bar_follower import BarFollower
from daemon.market_data.feed_troubles import Troubles
from daemon.market_data.funding import FundingSettlements
from daemon.market_data.histories import Histories
from daemon.market_data.listed_coins import ListedCoins
from daemon.market_data.longer.sources import BarSources
from daemon.market_data.provisional_bars import ProvisionalBars
from daemon.market_data.stream_cache import Coverage
from daemon.mqtt.messages import FeedState, VenueState
from daemon.store.async_store import AsyncStore, StoreInTurn
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_QUEUE_BARS: Final = 1024


class Feed:
    """The closed bars of some slots.

    Args:
        rest: The venue's REST answers.
        stream: The venue's pushes; this object runs it.
        store: Takes every bar before it is delivered.
        venue: The venue's clock; somebody else calls `rest.learn_clock` at intervals.
        slots: The slots to follow, each while the venue lists its coin.
        after: Where to begin, by slot: with the bar that follows this open time, ms UTC.
            Without it a slot begins after its newest bar of record in the store, or with the
            next bar to close.
        on_trade: Takes each trade that the stream shows, repeats included.
        alarm: Reports to a person bars that are lost, or soon will be.
        listed: Knows which coins the venue lists; None takes every coin for listed.
        troubles: Takes what a single slot lacks.
        turns: Who holds one decides on a bar; what closes is stored in between. None waits for
            nobody.
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
        listed: ListedCoins | None = None,
        troubles: SlotTroubles | None = None,
        turns: asyncio.Semaphore | None = None,
    ) -> None:
        self._has_trades, self._on_trade = on_trade is not None, on_trade or (lambda _: None)
        self._rest, self._stream, self._venue = rest, stream, venue
        # At a close of hundreds of slots this would slow down each of their decisions. The past,
        # which is stored in large pieces, goes on beside them.
        self._store = StoreInTurn(store, turns) if turns else store
        self._after, self._alarm = after or {}, alarm
        self._listed, self._slot_troubles = listed, troubles or SlotTroubles()
        self._troubles = Troubles(self._slot_troubles, self._doubt)
        self._coverage = Coverage()
        self._loss = LogOnce()
        self._followers: dict[SlotName, BarFollower] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._serving: defaultdict[SlotName, set[asyncio.Task[None]]] = defaultdict(set)
        self._sources = BarSources(self._followers, store, venue, rest.oddities)
        history = Backfill(rest, store, venue, alarm, self._sources.shorter)
        self._histories = Histories(history, venue, self._troubles, alarm)
        self._rush = ProvisionalBars(self._sources.asking, rest.weight_per_minute)
        # While the queue is full, the followers wait; no bar is dropped.
        self._bars: asyncio.Queue[tuple[SlotName, Bar]] = asyncio.Queue(_QUEUE_BARS)
        self._over: asyncio.Queue[tuple[BarFollower, Bar]] = asyncio.Queue()
        self._settlements = FundingSettlements(
            rest, self._store, venue, self._followers.keys(), alarm, troubles=self._troubles
        )
        self._followers |= {slot: self._follower(slot) for slot in slots}
        self._settle_sources()

    async def run(self) -> None:
        """Follow all slots; ends only when cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            tasks = self._tasks
            for slot in self._followers:
                self._start(slot, self._serve(slot), "serve")
            tasks.create_task(self._stream.run(), name="stream")
            tasks.create_task(self.listen(), name="feed-pushes")
            tasks.create_task(self._settlements.run(self._coins), name="feed-funding")
            if self._listed:
                tasks.create_task(self._listed.run(), name="feed-coins")
            followers = self._followers.values()
            rush = self._rush.run(followers, self._store, self._venue, self._troubles)
            tasks.create_task(rush, name="feed-rush")

    def add(self, slot: SlotName, since_ms: int) -> None:
        """Follow one more slot while `run` runs; its past, from `since_ms` on, comes late.

        The others do not wait for it. `listed` must know the slot.
        """
        self._histories.lack(slot, since_ms)
        self._followers[slot] = self._follower(slot)
        self._settle_sources()
        self._start(slot, self._serve(slot), "serve")

    def deepen(self, slot: SlotName, since_ms: int) -> None:
        """Fetch more of the past of a slot that is followed, from `since_ms` on, ms UTC."""
        self._histories.lack(slot, since_ms)
        self._start(slot, self._histories.fetch_late(slot), "deepen")

    async def remove(self, slot: SlotName) -> None:
        """Follow a slot no longer; what the store has of it stays there.

        Its troubles are not ended: whoever was told of them is to hear that it is removed.
        """
        work = self._serving.pop(slot)
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        del self._followers[slot]
        is_listed = self._listed is None or self._listed.is_listed(slot)
        (self._stream.leave if is_listed else self._stream.unwant)(self._channels(slot))
        self._settle_sources()
        self._histories.lack(slot, None)
        self._troubles.remove(slot)

    def _start(self, slot: SlotName, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run some work for a slot until it is removed."""
        assert self._tasks is not None
        task = self._tasks.create_task(work, name=f"{name}-{slot}")
        of_slot = self._serving[slot]
        of_slot.add(task)
        task.add_done_callback(of_slot.discard)

    def _channels(self, slot: SlotName) -> set[Channel]:
        """Return what the stream has for this slot and for no other."""
        shared = {other.coin for other in self._followers if other != slot}
        if not self._has_trades or slot.coin in shared:
            return {slot}
        return {slot, TradesOf(slot.coin)}

    def _follower(self, slot: SlotName) -> BarFollower:
        return BarFollower(
            slot,
            self._rest,
            self._store,
            self._venue,
            settlements=self._settlements,
            troubles=self._troubles,
            emit=self._emit,
            alarm=self._alarm,
            coverage=self._coverage,
            in_rush=self._rush.is_on,
        )

    def _settle_sources(self) -> None:
        """Say anew who merges whose bars, and subscribe to what is asked for by that."""
        self._sources.settle()
        asking, listed = self._sources.asking, self._listed
        self._stream.leave(self._followers.keys() - asking)
        self._stream.want(slot for slot in asking if listed is None or listed.is_listed(slot))

    def _coins(self) -> Collection[str]:
        """Return the coins that are followed now."""
        return self._listed.coins if self._listed else {slot.coin for slot in self._followers}

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

    def settled_t(self, slot: SlotName) -> int:
        """Return the open time of the newest bar that the venue has told of, or left out, ms UTC.

        0 if it was not asked yet.
        """
        return self._followers[slot].settled_t

    def trouble(self, slot: SlotName) -> str:
        """Return what keeps the bars of a slot from coming; empty if nothing is known."""
        shorter = self._sources.shorter(slot)
        return self._troubles.why(slot) or (self._troubles.why(shorter) if shorter else "")

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

    def filled_late(self) -> AsyncIterator[SlotName]:
        """Yield each slot that got its past only after `backfill`, as soon as it has it."""
        return self._histories.late()

    async def backfill(self, since: Mapping[SlotName, int]) -> None:
        """Store the bars and funding that the venue still serves; call it before `run`.

        All slots are fetched side by side. If the venue does not answer, this waits for it. A
        slot that alone is not served, or cannot be read five times, is left for `run`. Holes
        that cannot be filled are in `Store.gaps`.

        Args:
            since: Where to begin, by slot, ms UTC.
        """
        listed = self._listed
        ready = [slot for slot in since if listed is None or listed.is_listed(slot)]
        await self._histories.fetch(since, ready)

    async def _serve(self, slot: SlotName) -> None:
        """Follow a slot while the venue lists its coin."""
        after, follower, listed = self._after.get(slot), self._followers[slot], self._listed
        if listed is None:
            await self._follow(slot, after)
            return
        channels: set[Channel] = {slot, TradesOf(slot.coin)} if self._has_trades else {slot}
        while True:
            await listed.until(slot, listed=True)
            self._stream.want(channels if slot in self._sources.asking else channels - {slot})
            follower.is_pushed = True
            async with running(self._follow(slot, after), f"follow-{slot}"):
                await listed.until(slot, listed=False)
            self._stream.unwant(channels)
            follower.is_pushed, after = False, follower.handed_on_t
            self._troubles.forget(slot)
            for channel in channels:
                self._slot_troubles.forget(slot, f"stream of {channel}")

    async def _follow(self, slot: SlotName, after: int | None) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._followers[slot].run(after), name=f"follow-{slot}")
            tasks.create_task(self._histories.fetch_late(slot), name=f"backfill-{slot}")

    async def _emit(self, slot: SlotName, bar: Bar) -> None:
        await self._bars.put((slot, bar))

    async def listen(self) -> None:
        """Take the events of the stream, as a part of `run`; ends only when cancelled."""
        async with running(self._keep_over(), "feed-kept"):
            await self._take_events()

    async def _take_events(self) -> None:
        while True:
            match await self._stream.events.get():
                case CandleFrame(slot, bar):
                    self._pushed(slot, bar)
                case Trades(trades):
                    for trade in trades:
                        self._on_trade(trade)
                case Unserved(channel, why):
                    self._unserved(channel, why)
                case Served(channel):
                    self._served(channel)
                case Connected():
                    self._coverage.connected(self._venue.now_ms())
                    log.info("feed.stream_back" if self._loss.ends() else "feed.stream_connected")
                case Disconnected() as ended:
                    self._disconnected(ended)

    def _pushed(self, slot: SlotName, bar: Bar) -> None:
        # This waits for nothing: a frame that waited could show more of a bar that this one proves.
        self._coverage.heard(self._venue.now_ms())
        if (follower := self._followers.get(slot)) and (over := follower.push(bar)):
            self._over.put_nowait((follower, over))

    async def _keep_over(self) -> None:
        while True:
            follower, over = await self._over.get()
            await follower.keep(over)

    def _disconnected(self, ended: Disconnected) -> None:
        self._coverage.disconnected()
        if ended.expected:
            log.info("feed.stream_renewed", why=ended.why)
        elif self._loss.begins():
            log.warning("feed.stream_lost", why=ended.why)
        for channel in ended.doubted:
            self._doubt(channel.coin)

    def _doubt(self, coin: str) -> None:
        if self._listed:
            self._listed.doubt(coin)

    def _unserved(self, channel: Channel, why: str) -> None:
        """Note that the venue does not push a channel."""
        for slot in self._slots_of(channel):
            self._followers[slot].is_pushed &= channel != slot
            instead = "no flow of cohorts comes" if channel != slot else "REST alone has its bars"
            text = f"the stream of {channel} is not served: {why}; {instead}"
            self._slot_troubles.begin(slot, f"stream of {channel}", text)

    def _served(self, channel: Channel) -> None:
        self._coverage.connected(self._venue.now_ms())  # it covers no earlier time of this channel
        for slot in self._slots_of(channel):
            self._followers[slot].is_pushed |= channel == slot
            self._slot_troubles.end(slot, f"stream of {channel}")

    def _slots_of(self, channel: Channel) -> list[SlotName]:
        if isinstance(channel, TradesOf):
            return [slot for slot in self._followers if slot.coin == channel.coin]
        return [channel] if channel in self._followers else []
