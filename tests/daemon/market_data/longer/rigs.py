"""Followers of one coin in two intervals, on a scripted venue, in a time of their own."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from daemon.core.bars import Bar, Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.core.errors import VenueUnreachable
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.hyperliquid.rest import RestSnapshot
from daemon.market_data.bar_follower import BarFollower
from daemon.market_data.feed_troubles import Troubles
from daemon.market_data.funding import FundingSettlements
from daemon.market_data.longer.sources import BarSources
from daemon.market_data.stream_cache import Coverage
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, INTERVAL_MS, SlotName
from tests.daemon.fake_venue import hourly

STEP = INTERVAL_MS["5m"]
BEGIN = 1_750_003_200_000  # on the grid of 1h
SHORT, LONG = SlotName("BTC", "5m"), SlotName("BTC", "1h")


class Ticking:
    """A clock whose sleepers wake in the order of their times, when nothing else can go on."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        at = self.ms + max(1, round(seconds * 1000))
        heapq.heappush(self._sleepers, (at, next(self._numbers), woken))
        await woken

    async def until(self, ms: int) -> None:
        """Let time pass until `ms`."""
        while True:
            await _all_others_wait()
            if not self._sleepers or self._sleepers[0][0] > ms:
                self.ms = ms
                return
            at, _, woken = heapq.heappop(self._sleepers)
            self.ms = max(self.ms, at)
            if not woken.done():
                woken.set_result(None)


async def _all_others_wait() -> None:
    """Let the other tasks go on until each waits for a time or an event."""
    loop: Any = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)


@dataclass
class ScriptedRest:
    """REST as a table: bars by slot, and when each may be seen."""

    clock: Ticking
    oddities: AnomalyLog
    bars: dict[SlotName, dict[int, Bar]] = field(default_factory=dict)
    visible: Callable[[SlotName, Bar, int], bool] = lambda slot, bar, now: True
    away: set[SlotName] = field(default_factory=set)
    asked: list[SlotName] = field(default_factory=list)
    clock_reads: int = 0

    async def snapshot(self, coin: str, interval: str, start_ms: int, **_: Any) -> RestSnapshot:
        slot = SlotName(coin, interval)
        self.asked.append(slot)
        if slot in self.away:
            raise VenueUnreachable("away")
        rows = [
            bar
            for t, bar in sorted(self.bars[slot].items())
            if start_ms - slot.interval_ms < t <= self.clock.ms
            and self.visible(slot, bar, self.clock.ms)
        ]
        return RestSnapshot(rows, self.clock.monotonic())

    async def learn_clock(self) -> None:
        self.clock_reads += 1


@dataclass
class InlineStore:
    """A store whose calls are done at once."""

    store: Store

    async def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self.store, *args, **kwargs)


class Rig:
    """Two followers, the longer merged from the shorter; time starts at BEGIN."""

    def __init__(self, *, in_rush: bool = False, now_ms: int = BEGIN + 4000) -> None:
        self.clock = Ticking(now_ms)
        self.venue = VenueClock(self.clock)
        self.rest = ScriptedRest(self.clock, AnomalyLog(self.venue))
        self.store = Store(":memory:")
        self.store.put_funding("BTC", hourly(BEGIN - 30 * HOUR_MS, 300))
        self.coverage = Coverage()
        self.got: dict[SlotName, list[Bar]] = {SHORT: [], LONG: []}
        self.at: dict[SlotName, list[int]] = {SHORT: [], LONG: []}
        self.alarms: list[str] = []
        self.in_rush = in_rush
        self.keeper = InlineStore(self.store)
        settlements = FundingSettlements(cast(Any, self.rest), self.keeper, self.venue)
        self.followers = {slot: self._follower(slot, settlements) for slot in (SHORT, LONG)}
        self.sources = BarSources(self.followers, self.keeper, self.venue, self.rest.oddities)
        self.sources.settle()

    def _follower(self, slot: SlotName, settlements: FundingSettlements) -> BarFollower:
        return BarFollower(
            slot,
            cast(Any, self.rest),
            self.keeper,
            self.venue,
            settlements=settlements,
            troubles=Troubles(),
            emit=self._emit,
            alarm=self._alarm,
            coverage=self.coverage,
            in_rush=lambda _: self.in_rush,
        )

    async def _emit(self, slot: SlotName, bar: Bar) -> None:
        held = self.store.held(slot, bar.t, bar.t)
        assert held, "handed on before it was stored"
        self.got[slot].append(bar)
        self.at[slot].append(self.clock.ms)

    def _alarm(self, slot: SlotName, kind: str, hole: Hole, text: str) -> None:
        self.alarms.append(text)

    def put(self, short: Iterable[Bar], long: Iterable[Bar]) -> None:
        self.rest.bars = {SHORT: {b.t: b for b in short}, LONG: {b.t: b for b in long}}

    async def run(self, hours: float) -> None:
        """Follow until so many hours after BEGIN."""
        async with self.following():
            await self.until(hours)

    async def until(self, hours: float) -> None:
        """Let time pass until so many hours after BEGIN."""
        await self.clock.until(BEGIN + round(hours * HOUR_MS))

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow both slots in the block."""
        tasks = [asyncio.create_task(one.run(None)) for one in self.followers.values()]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def provenances(self, slot: SlotName) -> list[Provenance]:
        return [copy.provenance for copy in self.store.held(slot, BEGIN, 2**62)]
