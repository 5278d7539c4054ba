"""The whole way of a bar, from a misbehaving exchange to the store, in virtual time."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec

from daemon.core.bars import Bar, Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import Fault
from daemon.demo.market import generate
from daemon.demo.recording import Recording
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.hyperliquid.wire import decode_candles
from daemon.market_data.feed import Feed
from daemon.store.bar_merge import Stored
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName
from tests import virtual_time
from tests.captured import capture_logs
from tests.link import Link
from tests.virtual_time import InlineStore, LoopClock

# Two bars last forty seconds: the longest that a client holds off an absent venue, and some.
SPEED = 15.0
STEP = 300_000
PAST = 40
"""Bars that were over when the replay began."""
START_MS = 1_750_032_000_000
NOW_MS = START_MS + PAST * STEP
SLOTS = (SlotName("BTC", "5m"), SlotName("ETH", "5m"))
# Above the three seconds that the venue's books may lag, and the thirty after which a bar that
# REST does not have counts as one without trades.
_SETTLED_MS = 60_000
_CLOCK_S = 4.0


def recordings(bars: int = 200) -> list[Recording]:
    return [
        generate(bars, STEP, seed, start_ms=START_MS, coin=slot.coin)
        for seed, slot in enumerate(SLOTS, start=5)
    ]


@dataclass
class Outcome:
    """What the daemon's side has of one slot, and what the exchange says, at one moment."""

    slot: SlotName
    rest: dict[int, Bar]
    stored: dict[int, Stored]
    gaps: list[Hole]
    emitted: list[Bar]
    last_t: int
    """The newest bar that must be settled by now."""

    def differences(self) -> list[str]:
        """Say bar by bar where the store is not what REST says."""
        found = []
        for t in range(min(self.rest), self.last_t + 1, STEP):
            bar, held, number = self.rest.get(t), self.stored.get(t), (t - NOW_MS) // STEP
            if held is None:
                if not any(gap.from_t <= t <= gap.to_t for gap in self.gaps):
                    found.append(f"{self.slot} {number}: missing and not reported")
            elif bar is None:
                if held.provenance is not Provenance.FILLED or held.bar.volume:
                    found.append(f"{self.slot} {number}: {held} invented")
            elif (held.bar, held.provenance) != (bar, Provenance.REST):
                found.append(f"{self.slot} {number}: {held} is not {bar}")
        return found

    def disorder(self) -> list[str]:
        """Say which bars were not handed on right after the one before, and if any is late."""
        times = [bar.t for bar in self.emitted]
        lost = [
            f"{self.slot}: {(b - NOW_MS) // STEP} after {(a - NOW_MS) // STEP}"
            for a, b in pairwise(times)
            if b != a + STEP
        ]
        if times[-1] < self.last_t:
            lost.append(f"{self.slot}: the last bar handed on is {(times[-1] - NOW_MS) // STEP}")
        return lost


@dataclass
class Run:
    """A feed over an exchange with faults; `logs` are the events of the daemon's log."""

    exchange: ReplayExchange
    feed: Feed
    rest: RestClient
    store: InlineStore
    venue: VenueClock
    logs: list[Any]
    link: Link
    emitted: dict[SlotName, list[Bar]] = field(default_factory=lambda: {s: [] for s in SLOTS})

    @property
    def bars(self) -> float:
        """How many bars of time the replay has shown."""
        return (self.exchange.now_ms() - NOW_MS) / STEP

    async def until(self, venue_ms: float) -> None:
        while self.exchange.now_ms() < venue_ms:
            await asyncio.sleep(0.1)

    async def until_healed(self, within_s: float = 200.0) -> int:
        """Wait until nothing goes wrong any more and a socket is subscribed; return when."""
        async with asyncio.timeout(within_s + 60):
            while not (self.exchange.faults_over and self._is_subscribed()):
                await asyncio.sleep(0.1)
        return self.exchange.now_ms()

    def outcome(self, slot: SlotName) -> Outcome:
        now_ms = self.exchange.now_ms()
        window = {"coin": slot.coin, "interval": slot.interval, "startTime": START_MS}
        request = msgspec.json.encode({"type": "candleSnapshot", "req": window})
        rows = decode_candles(self.exchange._venue.answer(request, now_ms).body, slot).frames
        return Outcome(
            slot,
            rest={frame.bar.t: frame.bar for frame in rows},
            stored={s.bar.t: s for s in self.store.store.held(slot, 0, 2**62)},
            gaps=self.store.store.gaps(slot),
            emitted=self.emitted[slot],
            last_t=(now_ms - _SETTLED_MS) // STEP * STEP - STEP,
        )

    def wrong(self, slot: SlotName) -> list[str]:
        return self.outcome(slot).differences() + self.outcome(slot).disorder()

    def logged(self, event: str) -> list[Any]:
        return [entry for entry in self.logs if entry["event"] == event]

    def _is_subscribed(self) -> bool:
        return any(len(client.held) == len(SLOTS) for client in self.exchange._clients)

    async def drain(self) -> None:
        async for slot, bar in self.feed.bars():
            assert self.store.store.held(slot, bar.t, bar.t), "seen before it was stored"
            self.emitted[slot].append(bar)

    async def keep_time(self) -> None:
        while True:
            await asyncio.sleep(_CLOCK_S)
            with contextlib.suppress(HyperdriftError):
                await self.rest.learn_clock()


async def _greet(rest: RestClient) -> None:
    """Learn the venue's time, however long that takes, as the daemon does at its start."""
    while True:
        try:
            return await rest.learn_clock()
        except HyperdriftError:
            await asyncio.sleep(1)


def play(work: Any, faults: Sequence[Fault], markets: Sequence[Recording] = ()) -> Any:
    """Run `work(run)` beside a feed of two slots, until it returns."""

    async def stage() -> Any:
        clock = LoopClock(NOW_MS)
        venue, store = VenueClock(clock, SPEED), InlineStore(Store(":memory:"))
        exchange = ReplayExchange(
            markets or recordings(), clock, speed=SPEED, start_ms=NOW_MS, faults=faults
        )
        with capture_logs() as logs:
            async with (
                exchange,
                Link(exchange.url) as link,
                RestClient(link.through(exchange.url), clock, venue) as rest,
            ):
                await _greet(rest)
                stream = CandleStream(link.through(exchange.ws_url), clock, SLOTS)
                feed = Feed(rest, stream, store, venue, SLOTS)
                await feed.backfill(dict.fromkeys(SLOTS, START_MS))
                run = Run(exchange, feed, rest, store, venue, logs, link)
                tasks = [
                    asyncio.create_task(task) for task in (feed.run(), run.drain(), run.keep_time())
                ]
                try:
                    return await work(run)
                finally:
                    for task in tasks:
                        task.cancel()
                    ended = await asyncio.gather(*tasks, return_exceptions=True)
                    store.close()
                    for error in ended:
                        if not isinstance(error, asyncio.CancelledError | None):
                            raise error

    return virtual_time.run(stage())
