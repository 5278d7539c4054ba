"""Stream and REST made one: bars of record, in order, once each, stored before they are seen.

After a lost connection or a restart nothing is replayed by the venue. Each slot has a
follower that asks REST for whatever closed since the last bar it handed on, so a repair
is not a special case. The stream only keeps a reserve for bars that REST does not have.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random
from typing import Final

import structlog

from daemon.bars import Bar, SlotName
from daemon.clock import VenueClock
from daemon.errors import DaemonError
from daemon.follower import Follower, Troubles
from daemon.history import History
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream, Connected, Disconnected
from daemon.hyperliquid.wire import CandleFrame, Trade, Trades
from daemon.settlements import Settlements
from daemon.store import AsyncStore

log = structlog.get_logger()

_QUEUE_BARS: Final = 1024
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 60.0


class Feed:
    """The closed bars of some slots.

    Args:
        rest: The venue's answers.
        stream: The venue's pushes; this object runs it.
        store: Takes every bar before anybody sees it.
        venue: The venue's clock, kept right by somebody who calls `rest.learn_clock`.
        slots: What to follow; their coins exist (`rest.require_coins`).
        after: Where to begin, by slot: with the bar that follows this t. Without it a slot
            begins after its newest bar of record in the store, or with the next bar to close.
        on_trade: Takes each trade that the stream shows, repeats included.
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
    ) -> None:
        self._on_trade = on_trade
        self._stream, self._venue, self._after = stream, venue, after or {}
        self._history = History(rest, store, venue)
        self._troubles = Troubles()
        # Full means that scoring is behind: the followers wait, no bar is dropped.
        self._bars: asyncio.Queue[tuple[SlotName, Bar]] = asyncio.Queue(_QUEUE_BARS)
        settlements = Settlements(rest, store, venue)
        self._followers = {
            slot: Follower(
                slot,
                rest,
                store,
                venue,
                settlements=settlements,
                troubles=self._troubles,
                emit=self._emit,
            )
            for slot in slots
        }

    async def run(self) -> None:
        """Follow all slots; ends only when cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for slot, follower in self._followers.items():
                tasks.create_task(follower.run(self._after.get(slot)), name=f"follow-{slot}")
            tasks.create_task(self._stream.run(), name="stream")
            tasks.create_task(self._take_pushes(), name="feed-pushes")

    async def bars(self) -> AsyncIterator[tuple[SlotName, Bar]]:
        """Yield each closed bar once, ascending per slot, as soon as it is confirmed and stored."""
        while True:
            yield await self._bars.get()

    async def backfill(self, since: Mapping[SlotName, int]) -> None:
        """Store what the venue still serves of each slot since a time in ms; before `run`.

        A venue that is away is waited for. Holes that it cannot fill are in `Store.gaps`.
        """
        for slot, from_ms in since.items():
            waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, Random())  # noqa: S311 - jitter
            while True:
                try:
                    await self._history.fetch(slot, from_ms)
                except DaemonError as e:
                    self._troubles.begin(slot, e)
                    if not e.transient:
                        break
                    await self._venue.sleep(next(waits))
                else:
                    self._troubles.end(slot)
                    break

    async def _emit(self, slot: SlotName, bar: Bar) -> None:
        await self._bars.put((slot, bar))

    async def _take_pushes(self) -> None:
        is_lost = False
        while True:
            match await self._stream.events.get():
                case CandleFrame(slot, bar):
                    await self._followers[slot].push(bar)
                case Trades(trades):
                    if self._on_trade:
                        for trade in trades:
                            self._on_trade(trade)
                case Connected():
                    log.info("feed.stream_back" if is_lost else "feed.stream_connected")
                    is_lost = False
                case Disconnected(why, expected):
                    if expected:
                        log.debug("feed.stream_renewed", why=why)
                    elif not is_lost:
                        log.warning("feed.stream_lost", why=why)
                        is_lost = True
