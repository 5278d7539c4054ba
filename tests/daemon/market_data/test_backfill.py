from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from daemon.core.bars import Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.core.errors import SchemaChanged, VenueUnreachable
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.backfill import Backfill
from daemon.market_data.bar_close import flat_bars
from daemon.store.async_store import ThreadedStore
from daemon.store.bar_columns import BarColumns
from daemon.store.imported.rates import Rates
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName
from tests.captured import capture_logs
from tests.daemon.fake_venue import BTC, START, STEP, FakeVenue, bar, hourly, serving
from tests.fakes import FakeClock


@dataclass
class Rig:
    venue: FakeVenue
    history: Backfill
    store: Store
    alarms: list[tuple[Any, ...]]

    def numbers(self) -> list[int]:
        return [(t - START) // STEP for t in self.store.bars(BTC)["t"].tolist()]


@asynccontextmanager
async def rig(now: float) -> AsyncIterator[Rig]:
    clock = FakeClock(ms=START + round(now * STEP))
    venue = FakeVenue(clock.now_ms)
    venue.funding = hourly(START - 100 * HOUR_MS, 1000)
    venue_clock = VenueClock(clock)
    with Store(":memory:") as store:
        keeper = ThreadedStore(store)
        async with serving(venue), RestClient(venue.url, clock, venue_clock) as rest:
            alarms: list[tuple[Any, ...]] = []
            history = Backfill(rest, keeper, venue_clock, lambda *told: alarms.append(told))
            yield Rig(venue, history, store, alarms)
        keeper.close()


async def test_a_slot_with_shorter_bars_asks_rest_only_for_what_those_do_not_reach() -> None:
    hour = SlotName("BTC", "1h")
    first = START + 10 * STEP  # on the grid of 1h
    async with rig(now=50.5) as r:
        r.venue.put(bar(k, volume=0.1) for k in range(60))
        history = replace(r.history, shorter={hour: BTC}.get)
        await history.fetch(BTC, START)
        asked = len(r.venue.requests)
        await history.fetch(hour, first)
        assert r.venue.requests[asked:] == []
        held = r.store.held(hour, 0, 2**62)
        assert [copy.bar.t for copy in held] == [first + k * HOUR_MS for k in range(3)]
        assert {(copy.provenance, copy.bar.volume) for copy in held} == {(Provenance.REST, 1.2)}
        with pytest.raises(SchemaChanged):  # this venue has 5m bars only
            await history.fetch(hour, first - HOUR_MS)
        wanted = r.venue.asked("candleSnapshot")[-1]["req"]
        assert (wanted["interval"], wanted["startTime"]) == ("1h", first - HOUR_MS)


async def test_closed_bars_come_into_an_empty_store_with_their_funding() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        await r.history.fetch(BTC, START + 10 * STEP - 1)
        assert r.numbers() == list(range(10, 50))
        assert r.store.oldest_funding_time("BTC") <= START  # type: ignore[operator]
        newest = max(f.time for f in r.venue.funding if f.time <= r.venue.now())
        assert r.store.newest_funding_time("BTC") == newest


async def test_what_is_there_already_is_not_fetched_again() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        await r.history.fetch(BTC, START)
        r.venue.requests.clear()
        await r.history.fetch(BTC, START)
        assert r.venue.asked("candleSnapshot") == []
        assert len(r.venue.asked("fundingHistory")) <= 1


async def test_a_hole_within_reach_and_provisional_bars_are_fetched() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k, volume=5.0) for k in range(60))
        whole = [bar(k, volume=5.0) for k in range(48) if k not in {20, 21}]
        r.store.put_bars(BTC, whole, Provenance.REST)
        r.store.put_bars(BTC, [bar(48), bar(49)], Provenance.STREAM)
        await r.history.fetch(BTC, START)
        assert r.numbers() == list(range(50))
        assert set(r.store.bars(BTC)["volume"]) == {5.0}
        assert r.venue.asked("candleSnapshot")[0]["req"]["startTime"] == START + 20 * STEP


async def test_only_the_newest_5000_are_asked_for_and_what_lies_before_is_a_gap() -> None:
    async with rig(now=7000.5) as r:
        r.venue.put(bar(k) for k in range(7001))
        r.store.put_bars(BTC, [bar(k) for k in range(100)], Provenance.IMPORT)
        with capture_logs() as logs:
            await r.history.fetch(BTC, START)
            await r.history.fetch(BTC, START)
        first = r.numbers()[100]
        # The bar that is forming takes one of the venue's 5000 places.
        assert r.numbers() == [*range(100), *range(first, 7000)]
        assert 2000 <= first <= 2001
        assert r.store.gaps(BTC) == [Hole(START + 100 * STEP, START + (first - 1) * STEP)]
        assert [log["event"] for log in logs].count("feed.gap") == 1


async def test_a_short_hole_that_the_venue_has_too_is_filled_flat() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k, close=101.0) for k in range(60) if k not in {30, 31, 32})
        await r.history.fetch(BTC, START)
        assert r.numbers() == list(range(50))
        hole = Hole(START + 30 * STEP, START + 32 * STEP)
        held = r.store.held(BTC, *hole)
        assert [s.bar for s in held] == flat_bars(hole, 101.0, STEP)
        assert {s.provenance for s in held} == {Provenance.FILLED}


async def test_a_long_hole_that_the_venue_has_too_is_a_gap() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60) if not 20 <= k < 40)
        await r.history.fetch(BTC, START)
        assert r.store.gaps(BTC) == [Hole(START + 20 * STEP, START + 39 * STEP)]


async def test_funding_before_the_oldest_stored_rate_is_fetched_too() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        r.store.put_funding("BTC", r.venue.funding[101:102])
        await r.history.fetch(BTC, START)
        due = [f.time for f in r.venue.funding if START - 9 * HOUR_MS <= f.time <= r.venue.now()]
        assert r.store.oldest_funding_time("BTC") == due[0]
        assert r.store.newest_funding_time("BTC") == due[-1]


async def test_a_venue_that_is_away_is_the_callers_to_wait_for() -> None:
    async with rig(now=50.5) as r:
        r.venue.faults.extend([(503, "")] * 5)
        with pytest.raises(VenueUnreachable):
            await r.history.fetch(BTC, START)


def alerts(r: Rig) -> list[str]:
    return [text for _, kind, _, text in r.alarms if kind == "alert"]


async def test_imported_bars_within_reach_are_held_against_the_venue_once() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        wrong = [bar(k, close=99.0) for k in range(10, 30)]
        r.store.imports.put_bars(BTC, BarColumns.of(wrong), "eth.csv", 1)
        await r.history.fetch(BTC, START + 10 * STEP)
        assert len(r.venue.asked("candleSnapshot")) == 1
        (text,) = alerts(r)
        assert "20 of 20 bars of BTC-5m that eth.csv brought differ from the venue's" in text
        assert text.endswith("forget --coin BTC --interval 5m --source eth.csv")
        assert {s.provenance for s in r.store.held(BTC, 0, 2**62)} == {Provenance.REST}
        await r.history.fetch(BTC, START + 10 * STEP)
        assert len(r.venue.asked("candleSnapshot")) == 1
        assert len(alerts(r)) == 1


async def test_the_last_bar_of_a_dump_is_asked_again_and_alone_is_no_alert() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        dump = [*(bar(k) for k in range(49)), bar(49, volume=0.5)]
        r.store.imports.put_bars(BTC, BarColumns.of(dump), "dump.csv", 1)
        await r.history.fetch(BTC, START)
        assert r.store.bars(BTC)["volume"].tolist() == [1.0] * 50
        assert alerts(r) == []


async def test_imported_bars_that_the_venue_does_not_have_are_told() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60) if not 20 <= k < 23)
        r.store.imports.put_bars(BTC, BarColumns.of(map(bar, range(50))), "eth.csv", 1)
        await r.history.fetch(BTC, START)
        await r.history.fetch(BTC, START)
        assert ["3 the venue does not have" in text for text in alerts(r)] == [True]


async def test_imported_rates_are_held_against_the_venue_and_outranked() -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        hour = START // HOUR_MS * HOUR_MS
        times = np.arange(hour - 3 * HOUR_MS, hour + 3 * HOUR_MS, HOUR_MS)
        wrong = Rates(times, np.full(len(times), 5e-4))
        r.store.imports.put_funding("BTC", wrong, "apr.csv", 1)
        await r.history.fetch(BTC, START)
        (text,) = alerts(r)
        assert "6 of 6 funding rates of BTC that apr.csv brought differ" in text
        assert "hyperdrift bars forget --coin BTC --kind funding --source apr.csv" in text
        due = [f for f in r.venue.funding if START - 9 * HOUR_MS <= f.time <= r.venue.now()]
        assert r.store.funding("BTC", 0, 2**62) == due


@pytest.mark.parametrize("tail_bars", [0, 10])
async def test_a_short_end_is_left_to_the_follower_if_asked(tail_bars: int) -> None:
    async with rig(now=50.5) as r:
        r.venue.put(bar(k) for k in range(60))
        await r.history.fetch(BTC, START + 10 * STEP - 1)
        r.store.database.read("DELETE FROM bars WHERE t >= ?", (START + 45 * STEP,))
        r.venue.requests.clear()
        await r.history.fetch(BTC, START + 10 * STEP - 1, tail_bars=tail_bars)
        kinds = [request["type"] for request in r.venue.requests]
        assert r.numbers()[-1] == (44 if tail_bars else 49)
        assert kinds == ([] if tail_bars else ["candleSnapshot"])
        await r.history.fetch(BTC, START + 5 * STEP, tail_bars=tail_bars)  # the beginning lacks too
        assert r.numbers() == list(range(5, 50))
