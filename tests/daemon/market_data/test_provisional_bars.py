"""More slots than REST confirms in a minute: the stream goes first, REST makes it of record."""

import asyncio
from collections import defaultdict
from contextlib import suppress
from itertools import pairwise
from typing import Any

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.hyperliquid.frames import CandleFrame
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.hyperliquid.stream_events import Connected
from daemon.market_data.feed import Feed
from daemon.market_data.provisional_bars import ProvisionalBars
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from tests.daemon.fake_venue import START, bar
from tests.fakes import FakeClock
from tests.virtual_time import InlineStore, LoopClock, in_virtual_time

SPEED, STEP, BEGIN = 600.0, 300_000, 1_750_000_200_000
COINS = [f"C{k}" for k in range(8)]
SLOTS = tuple(SlotName(coin, "5m") for coin in COINS)
TAPES = [generate(600, STEP, k, start_ms=BEGIN, coin=coin) for k, coin in enumerate(COINS)]
# Two of the eight confirmed in a minute, ten in five.
WEIGHT = 48


def test_a_rush_is_on_where_more_bars_close_than_a_minute_confirms() -> None:
    many = [SlotName(f"C{k}", "5m") for k in range(40)]
    hourly = [SlotName(f"C{k}", "1h") for k in range(40)]
    rush = ProvisionalBars([*many, *hourly], 1000)
    hour = 3_600_000 * 100
    assert not rush.is_on(hour + STEP)
    assert rush.is_on(hour)
    assert not ProvisionalBars(many, 1000).is_possible
    assert ProvisionalBars([*many, *many[:3]], 1000).is_on(hour + STEP)


@in_virtual_time
async def test_bars_of_a_rush_come_young_in_order_and_become_those_of_rest() -> None:
    clock = LoopClock()
    venue = VenueClock(clock, SPEED)
    store = InlineStore(Store(":memory:"))
    begin = int(TAPES[0].t[300]) + 1000
    got: dict[SlotName, list[Bar]] = defaultdict(list)
    late: list[int] = []
    async with (
        ReplayExchange(TAPES, clock, speed=SPEED, start_ms=begin) as exchange,
        RestClient(exchange.url, clock, venue, WEIGHT) as rest,
    ):
        await rest.learn_clock()
        stream = CandleStream(exchange.ws_url, LoopClock(rate=20.0), SLOTS)
        feed = Feed(rest, stream, store, venue, SLOTS)

        async def drain() -> None:
            async for slot, bar in feed.bars():
                assert store.store.held(slot, bar.t, bar.t), "seen before it was stored"
                got[slot].append(bar)
                late.append(exchange.now_ms() - bar.t - STEP)

        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(drain())]
        async with asyncio.timeout(100):
            while len(late) < 9 * len(SLOTS):
                await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    states = [feed.state(slot) for slot in SLOTS]
    assert sum(s.provisional for s in states) >= 5 * len(SLOTS)
    assert sum(s.confirmed for s in states) >= 4 * len(SLOTS)
    for k, slot in enumerate(SLOTS):
        assert all(b.t - a.t == STEP for a, b in pairwise(got[slot]))
        first = got[slot][0].t
        for copy in store.store.held(slot, first, got[slot][-1].t):
            row = (copy.bar.t - BEGIN) // STEP
            if copy.provenance is Provenance.REST:
                recorded = (TAPES[k].close[row], TAPES[k].volume[row])
                assert (copy.bar.close, copy.bar.volume) == recorded
    store.close()
    # The first bars waited for REST, one after the other; the others came with the stream.
    assert sorted(late[3 * len(SLOTS) :])[len(SLOTS) * 2] < 90_000


class SlowStore:
    """A store that answers when it may."""

    def __init__(self) -> None:
        self.store, self.may_answer = Store(":memory:"), asyncio.Event()

    async def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        await self.may_answer.wait()
        return method(self.store, *args, **kwargs)


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_slow_store_holds_up_no_frame_that_shows_more_of_a_bar() -> None:
    clock, store = FakeClock(ms=START + STEP // 2), SlowStore()
    venue, (one, other) = VenueClock(clock), SLOTS[:2]
    rest = RestClient("http://127.0.0.1:9", clock, venue, WEIGHT)
    stream = CandleStream("ws://127.0.0.1:9/ws", clock, SLOTS)
    feed = Feed(rest, stream, store, venue, SLOTS)
    follower = feed._followers[one]
    follower._assembler.begin(START - STEP, START - STEP, 100.0)
    listening = asyncio.create_task(feed.listen())
    for event in (Connected(), CandleFrame(other, bar(0)), CandleFrame(one, bar(0, n=1))):
        stream.events.put_nowait(event)
    await turns()
    clock.ms = START + STEP + 3_500
    for event in (CandleFrame(other, bar(1)), CandleFrame(one, bar(0, volume=2.0, n=2))):
        stream.events.put_nowait(event)
    await turns()
    # The store still keeps the other slot's bar.
    assert follower.offer(START + STEP) == (bar(0, volume=2.0, n=2), Provenance.STREAM)
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    store.store.close()
