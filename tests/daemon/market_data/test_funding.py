"""Funding that is not settled any more: told of once, with since when, and only with a cause."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from daemon.core.bars import Bar, Funding, Hole, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.funding import FundingSettlements
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName
from tests.captured import capture_logs
from tests.daemon.fake_venue import FakeVenue, hourly, serving
from tests.fakes import FakeClock

START = 1_750_032_000_000
SLOTS = (SlotName("BTC", "5m"), SlotName("BTC", "12h"), SlotName("ETH", "5m"))
LAST = hourly(START, 1)[0].time


@dataclass
class Desk:
    venue: FakeVenue
    clock: FakeClock
    settlements: FundingSettlements
    rest: RestClient
    store: Store
    alarms: list[tuple[SlotName, str, Hole, str]] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)

    async def bars(self, hours: float, every_ms: int = 300_000) -> None:
        """Let so many hours of bars close, and each ask for its rate."""
        with capture_logs() as logs:
            until = self.clock.ms + hours * HOUR_MS
            while (close_ms := self.clock.ms - self.clock.ms % every_ms + every_ms) <= until:
                self.clock.ms = max(self.clock.ms, close_ms)
                await self.settlements.require("BTC", close_ms)
        self.lines += [entry["event"] for entry in logs if entry["log_level"] != "debug"]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = FakeClock(ms=START)
    venue, keeper = FakeVenue(clock.now_ms), ThreadedStore(Store(":memory:"))
    venue_clock = VenueClock(clock)
    async with serving(venue), RestClient(venue.url, clock, venue_clock) as rest:
        made: list[Desk] = []
        settlements = FundingSettlements(
            rest, keeper, venue_clock, SLOTS, lambda *told: made[0].alarms.append(told)
        )
        made.append(Desk(venue, clock, settlements, rest, keeper.store))
        yield made[0]
        keeper.close()


async def test_funding_that_stops_is_told_of_once_and_again_when_it_stops_again(desk: Desk) -> None:
    desk.venue.funding = hourly(START, 1)
    await desk.bars(3.0)
    assert desk.lines == ["feed.funding_late"]
    assert desk.alarms == []
    await desk.bars(20.0)
    assert desk.lines == ["feed.funding_late", "feed.funding_stale"]
    assert [(slot, kind) for slot, kind, *_ in desk.alarms] == [(s, "alert") for s in SLOTS[:2]]
    _, _, hole, text = desk.alarms[0]
    assert hole == Hole(LAST, START + 3 * HOUR_MS + 300_000)
    assert "has not been settled since 2025-06-16 00:00 UTC while bars come" in text
    desk.venue.funding = hourly(START, 25)
    await desk.bars(1.0)
    assert desk.lines[2:] == ["feed.funding_back"]
    await desk.bars(8.0)
    assert desk.lines[3:] == ["feed.funding_late", "feed.funding_stale"]
    assert len(desk.alarms) == 4


async def test_a_rate_fetched_ahead_of_the_bar_ends_the_lateness_too(desk: Desk) -> None:
    desk.venue.funding = hourly(START, 1)
    await desk.bars(5.0)
    desk.venue.funding = hourly(START, 30)
    await desk.settlements._prepare("BTC", desk.clock.ms + HOUR_MS)
    await desk.bars(1.0)
    assert desk.lines[-1] == "feed.funding_back"


@pytest.mark.parametrize("hours", [12, 24])
async def test_slots_whose_bars_are_long_raise_no_false_alarm(desk: Desk, hours: int) -> None:
    desk.venue.funding = hourly(START, 24 * 10)
    await desk.bars(24 * 9, every_ms=hours * HOUR_MS)
    assert desk.lines == []


async def test_while_the_venue_does_not_answer_nobody_knows(desk: Desk) -> None:
    desk.venue.funding = hourly(START, 24)
    await desk.bars(0.5)
    desk.venue.faults.extend([(503, "")] * 10_000)
    await desk.bars(8.0)
    assert "feed.funding_stale" not in desk.lines
    assert desk.alarms == []


async def test_a_recording_without_any_funding_is_not_said_to_have_lost_it(desk: Desk) -> None:
    await desk.bars(8.0)
    assert desk.lines == ["feed.funding_late"]
    assert desk.alarms == []


def eight_hourly(days: int) -> list[Funding]:
    return hourly(START - 24 * HOUR_MS, 24 * (days + 1))[::8]


async def test_a_coin_that_is_settled_every_eight_hours_is_late_by_its_own_spacing(
    desk: Desk,
) -> None:
    desk.venue.funding = eight_hourly(3)
    await desk.bars(3 * 24 - 1)
    assert desk.lines == []
    assert len(desk.venue.asked("fundingHistory")) < 3 * 3 + 2  # not for each bar
    desk.venue.funding = eight_hourly(3)[:-1]  # the last one is at START + 64 h
    await desk.bars(9.0)
    assert desk.lines == ["feed.funding_late"]
    await desk.bars(9.0)
    assert desk.lines == ["feed.funding_late", "feed.funding_stale"]
    assert "since 2025-06-18 16:00 UTC" in desk.alarms[0][3]


async def test_a_missed_hour_does_not_make_an_hourly_coin_wait_longer(desk: Desk) -> None:
    rates = hourly(START, 30)
    desk.venue.funding = rates[:5] + rates[7:9]
    await desk.bars(12.2)
    assert desk.lines.count("feed.funding_stale") == 1


async def test_a_bar_has_the_newest_rate_settled_before_its_close_however_they_lie_apart(
    desk: Desk,
) -> None:
    slot, rates = SlotName("BTC", "1h"), eight_hourly(2)
    desk.store.put_funding("BTC", rates)
    bars = [Bar(START + k * HOUR_MS, 1, 1, 1, 1, 1) for k in range(24)]
    desk.store.put_bars(slot, bars, Provenance.REST)
    column = desk.store.frame(slot)["funding"]
    for bar, rate in zip(bars, column, strict=True):
        settled = [r.rate for r in rates if r.time <= bar.t + HOUR_MS]
        assert rate == settled[-1]
    assert column[6] != column[8]


@pytest.mark.parametrize(("many", "after_s"), [(1, 2), (23, 2), (24, 70)])
async def test_rates_give_way_to_the_bars_of_the_hour_if_not_all_fit_into_a_minute(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, many: int, after_s: int
) -> None:
    asked = asyncio.Event()
    asks: list[float] = []

    async def funding(coin: str, *_: object, **__: object) -> list[Funding]:
        asks.append((desk.clock.ms - START - HOUR_MS) / 1000)
        asked.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(desk.rest, "funding", funding)
    running = asyncio.create_task(desk.settlements.run(lambda: [f"C{k}" for k in range(many)]))
    async with asyncio.timeout(60):
        await asked.wait()
    running.cancel()
    await asyncio.wait([running])
    assert asks[0] == after_s


async def test_rates_that_the_backfill_stored_count_for_a_coin_that_is_followed_again(
    desk: Desk,
) -> None:
    desk.venue.funding = hourly(START, 30)
    await desk.bars(1.0)
    desk.clock.ms += 19 * HOUR_MS // 2  # nobody follows the coin; then its past is fetched
    settled = [rate for rate in desk.venue.funding if rate.time <= desk.clock.ms]
    desk.store.put_funding("BTC", settled)
    await desk.bars(2.0)
    assert desk.lines == []
    assert desk.alarms == []
