import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from daemon.core.bars import Bar, Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.anomaly_log import CALM_MS
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.bar_follower import BarFollower
from daemon.market_data.feed_troubles import Troubles
from daemon.market_data.funding import FundingSettlements
from daemon.market_data.stream_cache import Coverage
from daemon.store.async_store import ThreadedStore
from daemon.store.database import StoreUnavailable
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.fake_venue import BTC, START, STEP, FakeVenue, bar, hourly, serving
from tests.fakes import FakeClock


@dataclass
class Rig:
    clock: FakeClock
    venue: FakeVenue
    store: ThreadedStore
    follower: BarFollower
    got: list[Bar] = field(default_factory=list)
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    coverage: Coverage = field(default_factory=Coverage)
    alarms: list[tuple[str, Hole]] = field(default_factory=list)

    async def push(self, b: Bar) -> None:
        """Show a bar, and keep the one that is over by it."""
        if over := self.follower.push(b):
            await self.follower.keep(over)

    async def follow(self, bars: int, after: int | None = None) -> list[Bar]:
        """Let time pass until so many bars were handed on."""
        task = asyncio.create_task(self.follower.run(after))
        try:
            async with asyncio.timeout(60):
                while len(self.got) < bars:
                    self.seen.clear()
                    await self.seen.wait()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return self.got


@asynccontextmanager
async def rig(
    now: float, store: Store | None = None, *, in_rush: bool = False
) -> AsyncIterator[Rig]:
    """Everything real but time, which moves only when the follower sleeps; `now` in bars."""
    clock = FakeClock(ms=START + round(now * STEP))
    venue = FakeVenue(clock.now_ms, funding=hourly(START - 30 * 3_600_000, 200))
    venue_clock = VenueClock(clock)
    keeper = ThreadedStore(store or Store(":memory:"))
    async with serving(venue), RestClient(venue.url, clock, venue_clock) as rest:
        made: list[Rig] = []
        coverage = Coverage()

        async def emit(slot: SlotName, b: Bar) -> None:
            assert keeper.store.held(slot, b.t, b.t), "handed on before it was stored"
            made[0].got.append(b)
            made[0].seen.set()

        settlements = FundingSettlements(rest, keeper, venue_clock)
        follower = BarFollower(
            BTC,
            rest,
            keeper,
            venue_clock,
            settlements=settlements,
            troubles=Troubles(),
            emit=emit,
            alarm=lambda _slot, kind, hole, _text: made[0].alarms.append((kind, hole)),
            coverage=coverage,
            in_rush=lambda _: in_rush,
        )
        made.append(Rig(clock, venue, keeper, follower, coverage=coverage))
        yield made[0]
        keeper.close()


def numbers(bars: list[Bar]) -> list[int]:
    return [(b.t - START) // STEP for b in bars]


def provenances(rig: Rig, first: int, last: int) -> list[Provenance]:
    held = rig.store.store.held(BTC, START + first * STEP, START + last * STEP)
    return [copy.provenance for copy in held]


async def test_bars_come_in_order_once_each_and_stored_as_of_record() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k, volume=k + 1) for k in range(10))
        got = await r.follow(5)
        assert got == [bar(k, volume=k + 1) for k in range(5)]
        assert provenances(r, 0, 4) == [Provenance.REST] * 5


async def test_the_forming_bar_is_never_taken() -> None:
    async with rig(now=0.5) as r:

        def as_of_now(b: Bar) -> bool:
            # The venue shows a bar's last trades only 2.6 s after its close.
            final = r.clock.ms >= b.t + STEP + 2_600
            r.venue.bars[b.t] = bar((b.t - START) // STEP, volume=9.0 if final else 1.0)
            return True

        r.venue.put(bar(k) for k in range(8))
        r.venue.visible = as_of_now
        got = await r.follow(4)
        assert [b.volume for b in got] == [9.0] * 4


async def test_bars_that_closed_while_away_come_first_and_from_one_call() -> None:
    async with rig(now=40.5) as r:
        r.venue.put(bar(k) for k in range(50))
        with capture_logs() as logs:
            got = await r.follow(39, after=START + STEP)
        assert logs == []  # they are not late: nobody was here
        assert numbers(got) == list(range(2, 41))[:39]
        assert len(r.venue.asked("candleSnapshot")) <= 2


async def test_a_restart_goes_on_after_the_newest_bar_of_record() -> None:
    store = Store(":memory:")
    store.put_bars(BTC, [bar(k) for k in range(3)], Provenance.REST)
    store.put_bars(BTC, [bar(3, volume=0.5)], Provenance.STREAM)
    async with rig(now=6.5, store=store) as r:
        r.venue.put(bar(k) for k in range(10))
        assert numbers(await r.follow(3)) == [3, 4, 5]
        assert provenances(r, 3, 5) == [Provenance.REST] * 3


async def test_a_quiet_bar_is_filled_flat_after_a_while_and_replaced_when_rest_has_it() -> None:
    async with rig(now=0.5) as r:
        # Trades stop after bar 0; with the next one, in bar 3, the venue fills bars 1 and 2 in.
        quiet = [Bar(START + k * STEP, 101.0, 101.0, 101.0, 101.0, 0.0) for k in (1, 2)]
        known_later = [Bar(b.t, 101.0, 102.0, 101.0, 102.0, 0.0) for b in quiet]
        r.venue.put([bar(0, close=101.0), *known_later, *(bar(k) for k in range(3, 8))])
        r.venue.visible = lambda b: b.t == START or r.clock.ms > START + 3.5 * STEP
        got = await r.follow(4)
        assert numbers(got) == [0, 1, 2, 3]
        assert got[1:3] == quiet
        stored = r.store.store.held(BTC, START, START + 3 * STEP)
        assert [s.provenance for s in stored] == [Provenance.REST] * 4
        assert [s.revisions for s in stored] == [0, 1, 1, 0]


async def test_a_bar_that_rest_shows_late_is_waited_for_not_filled() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(6))
        r.venue.visible = lambda b: r.clock.ms >= b.t + STEP + 15_000
        got = await r.follow(3)
        assert got == [bar(k) for k in range(3)]
        assert provenances(r, 0, 2) == [Provenance.REST] * 3


async def test_what_the_stream_showed_stands_in_for_a_bar_that_rest_never_has() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in (0, 2, 3))
        r.venue.visible = lambda b: b.t == START
        await r.push(bar(1, volume=3.0, n=5))
        await r.push(bar(1, volume=2.0, n=4))  # overtaken
        got = await r.follow(2)
        assert got[1] == bar(1, volume=3.0, n=5)
        assert provenances(r, 1, 1) == [Provenance.STREAM]


async def test_a_bar_of_the_stream_is_stored_once_the_next_begins_but_not_handed_on() -> None:
    async with rig(now=1.1) as r:
        await r.push(bar(0, volume=3.0))
        await r.push(bar(1))
        assert provenances(r, 0, 1) == [Provenance.STREAM]
        assert r.got == []


async def test_a_bar_of_the_stream_from_the_future_is_ignored() -> None:
    async with rig(now=0.5) as r:
        await r.push(bar(500))
        await r.push(bar(0))
        await r.push(bar(501))
        assert provenances(r, 0, 600) == []


async def test_a_bar_from_the_future_is_told_of_again_after_a_calm() -> None:
    async with rig(now=0.5) as r:
        with capture_logs() as logs:
            for _ in range(2):
                await r.push(bar(500))
                await r.push(bar(501))
                r.clock.ms += CALM_MS
        assert [(log["event"], log["t"]) for log in logs] == [("feed.future_bar", bar(500).t)] * 2


async def test_rows_of_rest_from_the_future_close_nothing() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(5))
        original = r.venue.data

        def with_future(body):
            rows = original(body)
            if body["type"] == "candleSnapshot":
                rows += [dict(rows[-1], t=START + 900 * STEP)] if rows else []
            return rows

        r.venue.data = with_future  # type: ignore[method-assign]
        assert await r.follow(3) == [bar(k) for k in range(3)]
        assert provenances(r, 4, 1000) == []


async def test_a_short_hole_between_bars_is_filled_at_once() -> None:
    async with rig(now=9.5) as r:
        r.venue.put(bar(k) for k in range(12) if k not in {3, 4})
        assert numbers(await r.follow(8, after=START)) == list(range(1, 9))
        assert provenances(r, 2, 5) == [
            Provenance.REST,
            Provenance.FILLED,
            Provenance.FILLED,
            Provenance.REST,
        ]


async def test_a_hole_beyond_reach_is_logged_stored_and_passed_over() -> None:
    store = Store(":memory:")
    store.put_bars(BTC, [bar(k) for k in range(3)], Provenance.REST)
    store.put_bars(BTC, [bar(k) for k in range(20, 25)], Provenance.IMPORT)
    async with rig(now=6000.5, store=store) as r:
        r.venue.put(bar(k) for k in range(6010))
        with capture_logs() as logs:
            got = await r.follow(10, after=START)
        first = 6000 - 5000 + 1
        assert numbers(got)[:10] == [1, 2, *range(20, 25), first, first + 1, first + 2]
        lost = [Hole(START + 3 * STEP, START + 19 * STEP), Hole(START + 25 * STEP, got[7].t - STEP)]
        assert r.store.store.gaps(BTC) == lost
        assert [log["log_level"] for log in logs if log["event"] == "feed.gap"] == ["error"] * 2


async def test_a_venue_that_is_away_for_an_hour_costs_no_bar_and_four_log_lines() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(60))
        r.venue.faults.extend([(503, "")] * 300)
        with capture_logs() as logs:
            got = await r.follow(12)
        assert not r.venue.faults
        assert got == [bar(k) for k in range(len(got))]
        events = [log["event"] for log in logs if log["log_level"] in {"info", "warning"}]
        assert events == ["feed.oddity", "feed.trouble", "feed.oddity", "feed.recovered"]


async def test_an_answer_of_unknown_shape_stops_nothing() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(60))
        r.venue.faults.extend([(200, '{"rows": 1}'), (200, "[1]"), (422, "Failed")])
        assert await r.follow(3) == [bar(k) for k in range(3)]


async def test_a_store_that_cannot_be_written_for_a_while_delays_bars_and_loses_none() -> None:
    async with rig(now=0.5) as r:
        database = r.store.store._db
        database.read("PRAGMA query_only = ON")

        def until_repaired(_: Bar) -> bool:
            if r.clock.ms > START + 4.5 * STEP:
                database.read("PRAGMA query_only = OFF")
            return True

        r.venue.visible = until_repaired
        r.venue.put(bar(k) for k in range(20))
        with capture_logs() as logs:
            assert numbers(await r.follow(6)) == list(range(6))
        assert logs[0]["event"] == "feed.trouble"
        assert [log["event"] for log in logs].count("feed.trouble") == 1


async def test_a_store_that_cannot_be_read_at_first_delays_bars_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(20))
        refusals, call = [StoreUnavailable("disk I/O error")] * 3, r.store.call

        async def refusing(method: Any, *args: Any, **kwargs: Any) -> Any:
            if refusals:
                raise refusals.pop()
            return await call(method, *args, **kwargs)

        monkeypatch.setattr(r.store, "call", refusing)
        with capture_logs() as logs:
            assert numbers(await r.follow(3)) == [0, 1, 2]
        events = [log["event"] for log in logs]
        assert events[0] == "feed.trouble"
        assert "feed.recovered" in events


async def test_the_rate_settled_before_a_close_is_stored_before_the_bar_is_handed_on() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(40))
        await r.follow(30)
        frame = r.store.store.frame(BTC)
        by_time = {f.time: f.rate for f in r.venue.funding}
        for close_ms, rate in zip(frame["t"] + STEP, frame["funding"], strict=True):
            newest = max(time for time in by_time if time <= close_ms)
            assert rate == by_time[newest]
        # One call an hour, not one a bar.
        assert len(r.venue.asked("fundingHistory")) <= 5


async def test_a_rate_that_is_late_delays_bars_a_little_and_stops_none() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(40))
        r.venue.funding = r.venue.funding[:31]
        with capture_logs() as logs:
            got = await r.follow(20)
        assert numbers(got) == list(range(20))
        assert [log["event"] for log in logs].count("feed.funding_late") == 1
        assert not np.isnan(r.store.store.frame(BTC)["funding"]).any()


async def test_a_clock_that_runs_ahead_of_the_venue_fills_nothing() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(6))
        late = 10 * STEP
        r.venue.now = lambda: r.clock.ms - late  # the venue stood still for ten bars
        r.clock.ms += late
        assert await r.follow(3, after=START - STEP) == [bar(k) for k in range(3)]
        assert provenances(r, 0, 2) == [Provenance.REST] * 3


async def test_a_bar_that_rest_changes_after_it_was_handed_on_is_stored_and_counted() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(10))
        await r.follow(2)
        r.venue.put([bar(1, volume=5.0)])
        await r.follow(4)
        copies = r.store.store.held(BTC, START, START + 3 * STEP)
        assert [copy.bar.volume for copy in copies] == [1.0, 5.0, 1.0, 1.0]
        assert r.follower.tally.revised == 1
        assert r.follower.tally.confirmed == len(r.got)


async def test_an_absurd_price_of_rest_is_held_back_and_hides_no_bar_once_it_is_gone() -> None:
    async with rig(now=0.5) as r:
        original, begin = r.venue.data, START + 3 * STEP

        def absurd(body):
            rows = original(body)
            if body["type"] == "candleSnapshot" and begin < r.clock.ms < begin + 40_000:
                rows = [
                    row | ({"c": "10000", "h": "10000"} if row["t"] == START + 2 * STEP else {})
                    for row in rows
                ]
            return rows

        r.venue.data = absurd  # type: ignore[method-assign]
        r.venue.put(bar(k) for k in range(10))
        with capture_logs() as logs:
            assert await r.follow(5) == [bar(k) for k in range(5)]
        assert [log["event"] for log in logs] == ["feed.price_doubted"]
        assert r.follower.refused == 1
        assert set(provenances(r, 0, 4)) == {Provenance.REST}


async def test_a_crash_that_rest_insists_on_is_taken_after_a_minute_and_the_next_bar_at_once() -> (
    None
):
    async with rig(now=0.5) as r:
        fallen = [Bar(START + k * STEP, 2.0, 2.0, 2.0, 2.0, 9.0, 3) for k in range(3, 9)]
        crash = Bar(START + 2 * STEP, 100.0, 100.0, 1.0, 2.0, 9.0, 3)
        r.venue.put([bar(0), bar(1), crash, *fallen])
        r.venue.visible = lambda b: r.clock.ms >= b.t + STEP
        got = await r.follow(3)
        assert got[-1] == crash
        assert r.clock.ms >= START + 3 * STEP + 60_000
        assert (await r.follow(4))[-1] == fallen[0]


async def test_an_absurd_price_of_the_stream_is_counted_and_not_stored() -> None:
    async with rig(now=0.5) as r:
        r.venue.put(bar(k) for k in range(9))
        await r.follow(1)
        await r.push(bar(1, close=9_000.0, n=9))
        await r.push(bar(2))
        assert provenances(r, 1, 1) == []
        assert r.follower.refused == 1


async def test_bars_about_to_leave_the_venues_reach_are_an_alarm_once_in_time() -> None:
    store = Store(":memory:")
    store.put_bars(BTC, [bar(k) for k in range(3)], Provenance.REST)
    async with rig(now=3740.5, store=store) as r:
        r.venue.put(bar(k) for k in range(5000))
        r.venue.faults.extend([(503, "")] * 1000)
        with capture_logs() as logs:
            await r.follow(20)
        hole = r.alarms[0][1]
        assert [kind for kind, _ in r.alarms] == ["hole_closing"]
        assert hole.from_t == START + 3 * STEP
        assert 3750 <= (hole.to_t - START) // STEP - 2 < 3800
        assert [log["event"] for log in logs].count("feed.hole_closing") == 1
        assert r.store.store.gaps(BTC) == []


async def test_lost_bars_are_an_alarm_with_their_span() -> None:
    store = Store(":memory:")
    store.put_bars(BTC, [bar(k) for k in range(3)], Provenance.REST)
    async with rig(now=40.5, store=store) as r:
        r.venue.put(bar(k) for k in range(60) if k < 3 or k > 25)
        await r.follow(3)
        assert r.alarms == [("gap", Hole(START + 3 * STEP, START + 25 * STEP))]
        assert r.follower.tally.gaps == 23


async def test_the_stream_alone_proves_a_bar_and_a_pause_in_trading() -> None:
    async with rig(now=0.5, in_rush=True) as r:
        r.venue.put(bar(k) for k in range(9))
        await r.follow(1)  # of record: the bar before the first that the stream may prove
        r.coverage.connected(START + STEP)
        second, third = START + 2 * STEP, START + 3 * STEP
        await r.push(bar(1, n=7))
        r.coverage.heard(second + 2_999)
        assert r.follower.offer(second) is None
        r.coverage.heard(second + 3_000)
        assert r.follower.offer(second) == (bar(1, n=7), Provenance.STREAM)
        assert r.follower.offer(third) is None  # the bar before it was not handed on
        r.store.store.put_bars(BTC, [bar(1, n=7)], Provenance.STREAM)
        await r.follower.lead(bar(1, n=7), Provenance.STREAM)
        await r.follower.lead(bar(1, n=7), Provenance.STREAM)
        assert numbers(r.got) == [0, 1]
        r.coverage.heard(third + 3_000)
        flat = Bar(second, 100.0, 100.0, 100.0, 100.0, 0.0)
        assert r.follower.offer(third) == (flat, Provenance.FILLED)
        assert (r.follower.tally.provisional, r.follower.tally.confirmed) == (1, 1)


async def test_what_was_handed_on_in_a_rush_is_confirmed_and_what_changes_is_counted() -> None:
    async with rig(now=0.5, in_rush=True) as r:
        r.venue.put(bar(k, volume=2.0) for k in range(9))
        await r.follow(1)
        early = bar(1, volume=1.5)
        r.store.store.put_bars(BTC, [early], Provenance.STREAM)
        await r.follower.lead(early, Provenance.STREAM)
        got = await r.follow(4, after=START + STEP)
        assert got == [bar(0, volume=2.0), early, bar(2, volume=2.0), bar(3, volume=2.0)]
        assert set(provenances(r, 0, 3)) == {Provenance.REST}
        assert r.follower.tally.revised == 1
