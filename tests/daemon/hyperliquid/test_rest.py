import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daemon.core.clock import VenueClock
from daemon.core.errors import CoinUnserved, SchemaChanged, VenueRefused, VenueUnreachable
from daemon.hyperliquid.rest import RestClient
from hyperdrift.slot_name import HOUR_MS
from tests.captured import capture_logs
from tests.daemon.fake_venue import START, STEP, FakeVenue, Fault, bar, hourly, serving
from tests.fakes import FakeClock


@asynccontextmanager
async def talking(*faults: Fault, now: float = 0.5) -> AsyncIterator[tuple[FakeVenue, RestClient]]:
    clock = FakeClock(ms=START + round(now * STEP))
    venue = FakeVenue(clock.now_ms)
    venue.put(bar(k) for k in range(6000))
    venue.faults.extend(faults)
    async with (
        serving(venue),
        RestClient(venue.url, clock, VenueClock(clock), weight_per_minute=400) as rest,
    ):
        yield venue, rest


async def test_bars_come_ascending_with_the_forming_one_and_the_one_that_contains_the_start() -> (
    None
):
    async with talking(now=9.5) as (_, rest):
        bars = await rest.candles("BTC", "5m", START + 3 * STEP + 1, START + 5 * STEP)
        assert bars == [bar(3), bar(4), bar(5)]
        assert (await rest.candles("BTC", "5m", START))[-1] == bar(9)
        assert await rest.candles("BTC", "5m", START - 9 * STEP, START - STEP) == []


@pytest.mark.parametrize("fault", [(429, "null"), (500, "null"), (502, "<html>"), (200, "null")])
async def test_a_passing_fault_is_tried_again(fault: Fault) -> None:
    async with talking(fault, fault, now=1.5) as (venue, rest):
        assert len(await rest.candles("BTC", "5m", START)) == 2
        assert len(venue.asked("candleSnapshot")) == 3
        assert rest.oddities.of_all() == {"error_answer": 2}


async def test_a_connection_that_hangs_up_is_tried_again_at_once_then_after_a_wait() -> None:
    async with talking(None, now=1.5) as (venue, rest):
        began = venue.now()
        assert len(await rest.candles("BTC", "5m", START)) == 2
        assert len(venue.requests) == 2
        assert venue.now() == began
        assert rest.tally.retries == 0
        assert rest.oddities.of_all() == {"connection_dropped": 1}
    async with talking(None, None, now=1.5) as (venue, rest):
        began = venue.now()
        assert len(await rest.candles("BTC", "5m", START)) == 2
        assert len(venue.requests) == 3
        assert venue.now() > began


async def test_both_calls_count_as_weight_where_a_connection_hung_up() -> None:
    async with talking(None, now=1.5) as (_, rest):
        await rest.meta()
        assert rest.weight_left() == 400 - 40


async def test_an_outage_costs_as_many_calls_for_a_hundred_callers_as_for_one() -> None:
    async with talking(*[(500, "null")] * 10_000) as (venue, rest):
        began = venue.now()
        found = await asyncio.gather(*[rest.meta() for _ in range(100)], return_exceptions=True)
        assert all(isinstance(one, VenueUnreachable) for one in found)
        minutes = (venue.now() - began) / 60_000
        # All calls that fit into the first minute's weight may be on their way at once; from
        # then on one asks at a time, at most every 15 to 30 s.
        assert len(venue.requests) <= 400 / 20 + 4 * minutes + 20
        venue.faults.clear()
        assert await rest.meta()


async def test_a_429_holds_everybody_back_for_a_while_and_is_counted() -> None:
    async with talking((429, "null"), now=1.5) as (venue, rest):
        began = venue.now()
        assert len(await rest.candles("BTC", "5m", START)) == 2
        assert venue.now() - began >= 10_000
        assert (rest.tally.throttled, rest.tally.retries) == (1, 1)


async def test_a_venue_that_stays_away_is_an_error_that_may_pass() -> None:
    async with talking(*[(503, "")] * 9) as (venue, rest):
        with pytest.raises(VenueUnreachable, match="status 503, 5 times") as caught:
            await rest.candles("BTC", "5m", START)
        assert caught.value.transient
        assert len(venue.requests) == 5


@pytest.mark.parametrize("fault", [(500, "null"), (200, "null"), (200, "")])
async def test_a_call_that_alone_fails_holds_nobody_else_up_and_is_told_from_an_outage(
    fault: tuple[int, str],
) -> None:
    async with talking(*[fault] * 6, now=1.5) as (venue, rest):
        with pytest.raises(CoinUnserved, match=r"not serve the candles of BTC-5m \(status .00"):
            await rest.candles("BTC", "5m", START)
        assert len(venue.asked("candleSnapshot")) == 5
        with pytest.raises(CoinUnserved):  # from now on each call is one try
            await rest.candles("BTC", "5m", START)
        assert len(venue.asked("candleSnapshot")) == 6
        began = venue.now()
        assert await rest.meta()
        assert venue.now() == began  # nobody waits for it
        assert len(await rest.candles("BTC", "5m", START)) == 2


PAGE = "<!doctype html><html><head><title>403 Forbidden</title></head></html>"


@pytest.mark.parametrize("fault", [(200, PAGE), (403, PAGE), (404, "gone"), (422, PAGE), (451, "")])
async def test_what_a_gateway_answers_is_a_venue_that_is_away_and_not_a_refusal(
    fault: Fault,
) -> None:
    assert fault is not None
    async with talking(*[fault] * 5) as (_, rest):
        with pytest.raises(VenueUnreachable, match=rf"does not answer \(status {fault[0]}"):
            await rest.candles("BTC", "5m", START)
        assert await rest.candles("BTC", "5m", START)
    async with talking(*[(403, PAGE)] * 5) as (_, rest):
        with pytest.raises(VenueUnreachable, match=r"a page of HTML \(403 Forbidden\), not"):
            await rest.meta()


async def test_a_port_without_a_venue_is_the_same_error() -> None:
    clock = FakeClock()
    async with RestClient("http://127.0.0.1:9", clock, VenueClock(clock)) as rest:
        with pytest.raises(VenueUnreachable, match="check the network"):
            await rest.meta()
    assert len(clock.slept) == 4
    assert sorted(clock.slept) == clock.slept


async def test_a_refused_request_is_not_repeated_and_quoted() -> None:
    async with talking((422, "Failed to deserialize")) as (venue, rest):
        with pytest.raises(VenueRefused, match="422: Failed to deserialize"):
            await rest.candles("BTC", "5m", START)
        assert len(venue.requests) == 1


async def test_an_answer_of_another_shape_is_not_repeated() -> None:
    async with talking((200, '{"candles": []}')) as (venue, rest):
        with pytest.raises(SchemaChanged):
            await rest.candles("BTC", "5m", START)
        assert len(venue.requests) == 1


async def test_a_bar_with_impossible_numbers_is_left_out_and_reported_once() -> None:
    async with talking(now=2.5) as (venue, rest):
        original = venue.data

        def crossed(body):
            rows = original(body)
            rows[1] |= {"l": "900", "h": "1"}
            return rows

        venue.data = crossed  # type: ignore[method-assign]
        with capture_logs() as logs:
            for _ in range(3):
                assert await rest.candles("BTC", "5m", START) == [bar(0), bar(2)]
        assert [log["event"] for log in logs] == ["rest.bar_refused"]


async def test_funding_is_fetched_page_by_page() -> None:
    async with talking(now=20_000) as (venue, rest):
        venue.funding = hourly(START, 1234)
        assert await rest.funding("BTC", START - HOUR_MS) == venue.funding
        assert len(venue.requests) == 3
        few = await rest.funding("BTC", START, START + 3 * HOUR_MS)
        assert few == [f for f in venue.funding if START <= f.time <= START + 3 * HOUR_MS]


async def test_a_full_last_page_is_followed_by_an_empty_one() -> None:
    async with talking(now=20_000) as (venue, rest):
        venue.funding = hourly(START, 500)
        assert len(await rest.funding("BTC", START - HOUR_MS)) == 500
        assert len(venue.requests) == 2


async def test_the_venues_clock_is_learnt() -> None:
    clock = FakeClock()
    venue_clock = VenueClock(clock)
    venue = FakeVenue(lambda: START)
    async with serving(venue), RestClient(venue.url, clock, venue_clock) as rest:
        await rest.learn_clock()
        assert venue_clock.now_ms() == START
        assert rest.weight_left() == 1000 - 6


async def test_weight_is_counted_by_rows_and_held_to_the_limit_of_a_minute() -> None:
    async with talking(now=5998.5) as (venue, rest):
        assert len(await rest.candles("BTC", "5m", START)) == 5000
        assert rest.weight_left() == 400 - 104
        began = venue.now()
        await asyncio.gather(*[rest.candles("BTC", "5m", venue.now() - STEP) for _ in range(30)])
        # 30 calls of 21 beside one of 104, at 400 a minute: two more minutes have to begin.
        assert 60_000 <= venue.now() - began < 125_000
        assert rest.weight_left() >= 0
