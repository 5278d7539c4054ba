"""Funding that is not settled any more: told of once, with since when, and only with a cause."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from daemon.core.bars import Hole
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
        made.append(Desk(venue, clock, settlements))
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
    desk.venue.faults.extend([(500, "null")] * 10_000)
    await desk.bars(8.0)
    assert "feed.funding_stale" not in desk.lines
    assert desk.alarms == []


async def test_a_recording_without_any_funding_is_not_said_to_have_lost_it(desk: Desk) -> None:
    await desk.bars(8.0)
    assert desk.lines == ["feed.funding_late"]
    assert desk.alarms == []
