"""Which slots ask the venue: counted and compared against the replay exchange."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.demo.protocol import CandleSubscription
from daemon.demo.recording import Recording
from daemon.hyperliquid.rest import RestClient, RestSnapshot
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.market_data.longer import sources as sources_module
from daemon.store.store import Store
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName
from tests.virtual_time import InlineStore, LoopClock, in_virtual_time

STEP = 300_000
MIDNIGHT = 20_250 * DAY_MS
NAMES = ("t", "open", "high", "low", "close", "volume", "n")


class CountingRest(RestClient):
    """REST, with a list of the slots whose bars were asked for."""

    asked: list[SlotName]

    async def snapshot(self, coin: str, interval: str, *args: Any, **kwargs: Any) -> RestSnapshot:
        self.asked.append(SlotName(coin, interval))
        return await super().snapshot(coin, interval, *args, **kwargs)


@dataclass
class Rig:
    exchange: ReplayExchange
    feed: Feed
    rest: CountingRest
    store: Store
    got: dict[SlotName, list[Bar]] = field(default_factory=lambda: defaultdict(list))

    async def until(self, ms: int) -> None:
        async with asyncio.timeout(100):
            while self.exchange.now_ms() < ms:
                await asyncio.sleep(0.01)

    async def collect(self, slot: SlotName, bars: int) -> list[Bar]:
        async with asyncio.timeout(100):
            while len(self.got[slot]) < bars:
                await asyncio.sleep(0.01)
        return self.got[slot]

    def pushed(self) -> set[tuple[str, str]]:
        """Return the candles that the exchange pushes to us."""
        (client,) = self.exchange._clients
        held = [one for one in client.held if isinstance(one, CandleSubscription)]
        return {(one.coin, one.interval) for one in held}

    async def drain(self) -> None:
        async for slot, bar in self.feed.bars():
            assert self.store.held(slot, bar.t, bar.t), "seen before it was stored"
            self.got[slot].append(bar)


@asynccontextmanager
async def rig(
    tapes: list[Recording],
    slots: list[SlotName],
    begin_ms: int,
    speed: float,
    after: dict[SlotName, int] | None = None,
    *,
    runs: bool = True,
) -> AsyncIterator[Rig]:
    """A feed with the shorter bars before `begin_ms` in its store, if it `runs`."""
    clock = LoopClock()
    venue, keeper = VenueClock(clock, speed), InlineStore(Store(":memory:"))
    for tape in tapes if runs else ():
        past = list(bars_of(tape, begin_ms - DAY_MS, begin_ms).values())
        keeper.store.put_bars(SlotName(tape.coin, tape.interval), past, Provenance.REST)
    async with (
        ReplayExchange(tapes, clock, speed=speed, start_ms=begin_ms) as exchange,
        CountingRest(exchange.url, clock, venue) as rest,
    ):
        rest.asked = []
        await rest.learn_clock()
        stream = CandleStream(exchange.ws_url, LoopClock(rate=20.0), slots)
        feed = Feed(rest, stream, keeper, venue, slots, after=after)
        made = Rig(exchange, feed, rest, keeper.store)
        work = (feed.run(), made.drain()) if runs else ()
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    keeper.close()


def bars_of(tape: Recording, from_ms: int, to_ms: int) -> dict[int, Bar]:
    """Return the bars of a recording that open and close within a time."""
    rows = zip(*(getattr(tape, name).tolist() for name in NAMES), strict=True)
    return {r[0]: Bar(*r) for r in rows if from_ms <= r[0] <= to_ms - tape.interval_ms}


def thinned(tape: Recording) -> Recording:
    """Leave every seventh bar, and two hours of the second day, without trades."""
    numbers = np.arange(len(tape))
    quiet = (numbers % 7 == 4) | ((numbers >= 288 + 9) & (numbers < 288 + 33))
    before = np.maximum.accumulate(np.where(quiet, 0, numbers))
    flat: dict[str, Any] = {
        name: np.where(quiet, tape.close[before], getattr(tape, name)) for name in NAMES[1:5]
    }
    sizes: dict[str, Any] = {name: np.where(quiet, 0, getattr(tape, name)) for name in NAMES[5:]}
    return replace(tape, **flat, **sizes)


@in_virtual_time
async def test_every_longer_bar_equals_the_exchanges_own_also_while_slots_come_and_go() -> None:
    short, long = SlotName("BTC", "5m"), SlotName("BTC", "1h")
    tape = thinned(generate(420, STEP, 3, start_ms=MIDNIGHT))
    begin = MIDNIGHT + DAY_MS + 1000
    async with rig([tape], [short, long], begin, 9000.0) as r:
        await r.collect(long, 4)
        assert r.pushed() == {("BTC", "5m")}
        asked = r.rest.asked.count(long)
        assert asked <= 6  # for the hours that end without trades, and until those come
        await r.feed.remove(short)
        await r.collect(long, 5)
        assert ("BTC", "1h") in r.pushed()
        assert r.rest.asked.count(long) > asked
        r.feed.add(short, r.exchange.now_ms() - HOUR_MS)
        await r.collect(long, 6)
        asked = r.rest.asked.count(long)
        got = await r.collect(long, 8)
        assert r.rest.asked.count(long) <= asked + 1  # an hour may end without trades
    own = bars_of(tape.resampled("1h"), 0, 2**62)
    assert [b.t for b in got] == list(range(got[0].t, got[0].t + len(got) * HOUR_MS, HOUR_MS))
    assert got == [own[b.t] for b in got]


@in_virtual_time
async def test_at_the_start_longer_bars_are_merged_once_the_shorter_ones_are_there() -> None:
    slots = [SlotName("BTC", i) for i in ("1d", "1h", "5m")]
    tape = generate(420, STEP, 3, start_ms=MIDNIGHT)
    async with rig([tape], slots, MIDNIGHT + DAY_MS + 60_000, 50.0, runs=False) as r:
        await r.feed.backfill(dict.fromkeys(slots, MIDNIGHT))
        assert set(r.rest.asked) == {SlotName("BTC", "5m")}
        for slot in slots[:2]:
            held = {copy.bar.t: copy.bar for copy in r.store.held(slot, 0, 2**62)}
            midnight = MIDNIGHT + DAY_MS
            assert held == bars_of(tape.resampled(slot.interval), MIDNIGHT, midnight)


@in_virtual_time
async def test_ten_coins_in_four_timeframes_take_a_quarter_of_the_streams_and_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coins = [f"C{k}" for k in range(10)]
    slots = [SlotName(coin, i) for coin in coins for i in ("5m", "1h", "12h", "1d")]
    tapes = [generate(310, STEP, k, start_ms=MIDNIGHT, coin=coin) for k, coin in enumerate(coins)]
    midnight = MIDNIGHT + DAY_MS
    after = {slot: midnight - 2 * slot.interval_ms for slot in slots}
    calls, pushed = {}, {}
    for kind in ("merged", "own"):
        if kind == "own":
            monkeypatch.setattr(sources_module, "sources", dict.fromkeys)
        async with rig(tapes, slots, midnight - 30_000, 120.0, after) as r:
            for slot in slots:
                bar, tape = (await r.collect(slot, 1))[0], tapes[coins.index(slot.coin)]
                tape = tape if slot.interval == "5m" else tape.resampled(slot.interval)
                assert bar == bars_of(tape, 0, midnight)[midnight - slot.interval_ms]
            longer = [slot for slot in r.rest.asked if slot.interval != "5m"]
            calls[kind], pushed[kind] = len(longer), len(r.pushed())
    assert pushed == {"merged": 10, "own": 40}
    assert calls["merged"] == 0
    assert calls["own"] >= 30
