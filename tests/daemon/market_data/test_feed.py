"""The feed against the replay exchange: real sockets, 3000 venue seconds in one; it is virtual."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.fake_venue import BTC, START, FakeVenue, bar, serving
from tests.fakes import FakeClock
from tests.virtual_time import InlineStore, LoopClock, in_virtual_time

SPEED = 3000.0
STEP = 300_000
BEGIN = 1_750_000_200_000
RECORDING = generate(2000, STEP, 7, start_ms=BEGIN, change_at=None)
COIN = RECORDING.coin
SLOTS = (SlotName(COIN, "5m"), SlotName(COIN, "15m"))


@dataclass
class Rig:
    exchange: ReplayExchange
    feed: Feed
    store: InlineStore
    rest: RestClient
    got: dict[SlotName, list[Bar]] = field(default_factory=lambda: {slot: [] for slot in SLOTS})

    async def collect(self, slot: SlotName, bars: int) -> list[Bar]:
        """Wait until so many bars of a slot came."""
        async with asyncio.timeout(100):
            while len(self.got[slot]) < bars:
                await asyncio.sleep(0.01)
        return self.got[slot]

    async def drain(self) -> None:
        async for slot, b in self.feed.bars():
            assert self.store.store.held(slot, b.t, b.t), "seen before it was stored"
            self.got[slot].append(b)


@asynccontextmanager
async def rig(
    first: int = 500,
    store: Store | None = None,
    url: Callable[[str], str] = str,
    turns: asyncio.Semaphore | None = None,
) -> AsyncIterator[Rig]:
    """A feed that runs from bar `first` of the recording on."""
    clock = LoopClock()
    venue = VenueClock(clock, SPEED)
    begin = int(RECORDING.t[first]) + 1000
    keeper = InlineStore(store or Store(":memory:"))
    async with ReplayExchange([RECORDING], clock, speed=SPEED, start_ms=begin) as exchange:
        async with RestClient(exchange.url, clock, venue) as rest:
            await rest.learn_clock()
            stream = CandleStream(url(exchange.ws_url), LoopClock(rate=20.0), SLOTS)
            feed = Feed(rest, stream, keeper, venue, SLOTS, turns=turns)
            made = Rig(exchange, feed, keeper, rest)
            tasks = [asyncio.create_task(feed.run()), asyncio.create_task(made.drain())]
            try:
                yield made
            finally:
                for task in tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
        keeper.close()


def check(bars: list[Bar], slot: SlotName) -> None:
    """Each bar once, in order, without a hole, and value for value what was recorded."""
    recording = RECORDING.resampled(slot.interval) if slot.interval != "5m" else RECORDING
    at = int(np.searchsorted(recording.t, bars[0].t))
    for k, b in enumerate(bars, start=at):
        names = ("t", "open", "high", "low", "close", "volume")
        recorded = tuple(float(getattr(recording, name)[k]) for name in names)
        assert (b.t, b.open, b.high, b.low, b.close, b.volume) == recorded


@in_virtual_time
async def test_every_bar_of_every_slot_comes_once_in_order_as_it_was_recorded() -> None:
    async with rig() as r:
        await r.collect(SLOTS[0], 30)
        for slot, bars in r.got.items():
            assert bars
            check(bars, slot)


@in_virtual_time
async def test_nothing_is_stored_while_a_decision_has_the_turn_and_nothing_is_lost_by_that() -> (
    None
):
    turns = asyncio.Semaphore()
    async with rig(turns=turns) as r:
        await r.collect(SLOTS[0], 3)
        async with turns:
            written = r.store.store.database.written
            await asyncio.sleep(0.5)  # five bars close
            assert r.store.store.database.written == written
        check(await r.collect(SLOTS[0], 20), SLOTS[0])


@in_virtual_time
async def test_bars_arrive_while_they_are_young() -> None:
    async with rig() as r:
        late: list[float] = []
        seen = 0
        while len(late) < 25:
            bars = await r.collect(SLOTS[0], seen + 1)
            late += [r.exchange.now_ms() - b.t - STEP for b in bars[seen:]]
            seen = len(bars)
        assert np.median(late) < STEP / 2


@in_virtual_time
async def test_a_lost_socket_and_a_stopped_exchange_cost_no_bar() -> None:
    with capture_logs() as logs:
        async with rig() as r:
            await r.collect(SLOTS[0], 5)
            for client in tuple(r.exchange._clients):
                client.drop()
            await r.collect(SLOTS[0], 15)
            r.exchange.pause()
            await asyncio.sleep(0.5)
            r.exchange.resume()
            check(await r.collect(SLOTS[0], 30), SLOTS[0])
            copies = r.store.store.held(SLOTS[0], 0, 2**62)
            assert Provenance.FILLED not in {copy.provenance for copy in copies}
    events = [log["event"] for log in logs]
    assert events.count("feed.stream_lost") == events.count("feed.stream_back") == 1


@in_virtual_time
async def test_bars_come_also_when_the_stream_never_does() -> None:
    with capture_logs() as logs:
        async with rig(url=lambda _: "ws://127.0.0.1:9/ws") as r:
            check(await r.collect(SLOTS[0], 10), SLOTS[0])
    assert [log["event"] for log in logs].count("feed.stream_lost") == 1


@in_virtual_time
async def test_a_restart_goes_on_where_the_store_ends(tmp_path) -> None:
    path = tmp_path / "bars.db"
    async with rig(500, Store(path)) as r:
        before = list(await r.collect(SLOTS[0], 5))
    async with rig(540, Store(path)) as r:
        after = await r.collect(SLOTS[0], 30)
        assert after[0].t <= before[-1].t + 3 * STEP  # some may have been stored, not collected
        check(after, SLOTS[0])


@in_virtual_time
async def test_a_backfill_brings_the_past_and_its_funding_before_the_feed_runs() -> None:
    async with rig(1500) as r:
        since = int(RECORDING.t[100])
        await r.feed.backfill(dict.fromkeys(SLOTS, since))
        frame = r.store.store.frame(SLOTS[0])
        assert frame["t"][0] == since
        assert len(frame["t"]) >= 1390
        assert not np.isnan(frame["funding"]).any()
        assert r.store.store.missing(SLOTS[0]) == []


async def test_a_backfill_waits_for_a_venue_that_is_away_and_gives_up_what_it_cannot_read() -> None:
    clock = FakeClock(ms=START + 50 * STEP + STEP // 2)
    venue = VenueClock(clock)
    fake = FakeVenue(clock.now_ms)
    fake.put(bar(k) for k in range(60))
    fake.faults.extend([(503, "")] * 12)
    with Store(":memory:") as store:
        keeper = ThreadedStore(store)
        async with serving(fake), RestClient(fake.url, clock, venue) as rest:
            stream = CandleStream("ws://127.0.0.1:9/ws", clock, (BTC,))
            feed = Feed(rest, stream, keeper, venue, (BTC,))
            with capture_logs() as logs:
                await feed.backfill({BTC: START})
            events = [log["event"] for log in logs if log["log_level"] != "debug"]
            assert events == ["feed.oddity", "feed.trouble", "feed.backfilled", "feed.recovered"]
            assert len(store.bars(BTC)["t"]) == 50
            fake.faults.extend([(200, "{}"), (200, "{}")])
            await feed.backfill({BTC: START - 9000 * STEP, SlotName("BTC", "15m"): START})
            assert not fake.faults
        keeper.close()


async def test_a_slot_that_is_removed_leaves_no_work_and_its_troubles_are_told_to_be_over() -> None:
    clock, troubles = FakeClock(ms=START + STEP // 2), SlotTroubles()
    venue, fake = VenueClock(clock), FakeVenue(clock.now_ms)
    kinds = {"the candles of BTC-5m", "the funding of BTC"}
    fake.faults.extend([(500, "null")] * 100_000)  # it answers only what concerns no coin
    keeper = ThreadedStore(Store(":memory:"))
    async with serving(fake), RestClient(fake.url, clock, venue) as rest:
        stream = CandleStream("ws://127.0.0.1:9/ws", clock, (BTC,))
        feed = Feed(rest, stream, keeper, venue, (BTC,), troubles=troubles)
        running = asyncio.create_task(feed.run())
        await asyncio.sleep(0)
        feed.deepen(BTC, START - 50 * STEP)
        async with asyncio.timeout(60):
            while not all(troubles.has(BTC, kind) for kind in kinds):
                await asyncio.sleep(0.01)
        await feed.remove(BTC)
        assert [t for t in asyncio.all_tasks() if t.get_name().endswith(str(BTC))] == []
        assert {over.kind for over in troubles.drop(BTC)} == kinds
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    keeper.close()
