"""A slot whose bars are merged: late, missing, provisional and revised shorter bars."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.bars import Bar, Provenance
from hyperdrift.slot_name import HOUR_MS
from tests.captured import capture_logs
from tests.daemon.market_data.longer.rigs import BEGIN, LONG, SHORT, STEP, Rig

REST, STREAM, FILLED = Provenance.REST, Provenance.STREAM, Provenance.FILLED
PER_HOUR = HOUR_MS // STEP


def bar(number: int, volume: float = 0.1, n: int = 2) -> Bar:
    """The 5m bar that opens `number` steps after BEGIN; prices move a little."""
    price = 100.0 + number % 7
    return Bar(BEGIN + number * STEP, price, price + 2, price - 1, price + 1, volume, n)


def quiet(number: int, price: float) -> Bar:
    return Bar(BEGIN + number * STEP, price, price, price, price, 0.0)


def hours(bars: Sequence[Bar]) -> list[Bar]:
    """Make the venue's hours as the venue does, from all trades, bar by bar."""
    made: dict[int, Bar] = {}
    for b in bars:
        t = b.t // HOUR_MS * HOUR_MS
        if t not in made or (b.volume and not made[t].volume):
            made[t] = Bar(t, b.open, b.high, b.low, b.close, b.volume, b.n)
        elif b.volume or not made[t].volume:
            was = made[t]
            volume = float(Decimal(str(was.volume)) + Decimal(str(b.volume)))
            high, low = max(was.high, b.high), min(was.low, b.low)
            made[t] = Bar(t, was.open, high, low, b.close, volume, was.n + b.n)
    return list(made.values())


def odd(rig: Rig) -> int:
    return rig.rest.oddities.of_slot(LONG).get("shorter_bars_lacking", 0)


async def test_a_longer_bar_comes_with_its_last_shorter_one_and_asks_nobody() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(50)]
    rig.put(bars, hours(bars))
    await rig.run(4.01)
    assert rig.got[LONG] == hours(bars[:48])
    assert rig.provenances(LONG) == [REST] * 4
    assert LONG not in rig.rest.asked
    last = rig.at[SHORT][PER_HOUR - 1 :: PER_HOUR]
    assert [at - of for at, of in zip(rig.at[LONG], last, strict=True)] == [0] * 4
    tally = rig.followers[LONG].tally
    assert (tally.confirmed, tally.provisional, tally.filled, tally.gaps) == (4, 0, 0, 0)


async def test_a_shorter_bar_that_rest_shows_late_is_waited_for() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(30)]
    rig.put(bars, hours(bars))
    rig.rest.visible = lambda slot, b, now: b.t != bars[11].t or now >= b.t + STEP + 15_000
    await rig.run(2.01)
    assert rig.got[LONG] == hours(bars[:24])
    assert rig.at[LONG][0] >= BEGIN + HOUR_MS + 15_000
    assert LONG not in rig.rest.asked


async def test_an_hour_that_ends_quietly_is_asked_of_rest() -> None:
    rig = Rig()
    traded = [bar(k) for k in range(9)]
    close = traded[-1].close
    bars = [*traded, *(quiet(k, close) for k in range(9, 15)), *(bar(k) for k in range(15, 30))]
    rig.put(bars, hours(bars))
    # REST has bars without trades only after the next trade.
    rig.rest.visible = lambda slot, b, now: b.volume > 0 or now > bars[15].t + 1000
    async with rig.following():
        await rig.until(1.1)
        assert rig.got[LONG] == hours(traded)
        assert rig.provenances(LONG) == [REST]
        await rig.until(2.01)
    assert rig.got[LONG] == hours(bars[:24])
    assert rig.rest.asked.count(LONG) == odd(rig) == 1


async def test_hours_of_a_halted_coin_are_filled_flat() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(12)]
    rig.put(bars, hours(bars))
    await rig.run(3.02)
    close = bars[-1].close
    flat = [Bar(BEGIN + k * HOUR_MS, close, close, close, close, 0.0) for k in (1, 2)]
    assert rig.got[LONG] == [*hours(bars), *flat]
    assert rig.provenances(LONG) == [REST, FILLED, FILLED]
    assert rig.rest.asked.count(LONG) <= 10


async def test_a_revised_shorter_bar_revises_the_longer_one() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(40)]
    rig.put(bars, hours(bars))
    early = bar(11, volume=0.05, n=1)

    rig.rest.bars[SHORT][early.t] = early
    async with rig.following():
        await rig.until(1.02)
        rig.rest.bars[SHORT][early.t] = bars[11]
        await rig.until(2.5)
    assert rig.got[LONG][0].volume < hours(bars)[0].volume
    assert [c.bar for c in rig.store.held(LONG, BEGIN, BEGIN + HOUR_MS)] == hours(bars[:24])
    assert rig.followers[LONG].tally.revised == 1


async def test_a_gap_in_the_shorter_bars_is_asked_of_rest_and_told() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(60)]
    # REST never has 13 bars in a row: too many to be a time without trades.
    rig.put([b for k, b in enumerate(bars) if not 14 <= k < 27], hours(bars))
    with capture_logs() as logs:
        await rig.run(4.01)
    assert rig.got[LONG] == hours(bars[:48])
    assert rig.provenances(LONG) == [REST] * 4
    assert 1 <= rig.rest.asked.count(LONG) <= 3
    assert odd(rig) == rig.rest.asked.count(LONG)
    told = [log["kind"] for log in logs if log["event"] == "feed.oddity"]
    assert "shorter_bars_lacking" in told


async def test_a_shorter_bar_that_the_venue_never_has_makes_rest_tell_the_longer_one() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(40)]
    rig.put([b for k, b in enumerate(bars) if k != 5], hours(bars))
    await rig.run(2.02)
    assert rig.got[LONG] == hours(bars[:24])
    assert rig.provenances(LONG) == [REST, REST]
    assert rig.rest.asked.count(LONG) == odd(rig) == 1


async def test_a_start_in_the_middle_of_a_longer_bar_asks_rest_for_that_one_only() -> None:
    rig = Rig(now_ms=BEGIN + 7 * STEP + 1000)
    bars = [bar(k) for k in range(60)]
    rig.put(bars, hours(bars))
    await rig.run(4.02)
    assert rig.got[LONG] == hours(bars[:48])
    assert rig.rest.asked.count(LONG) == odd(rig) == 1


async def test_a_start_with_the_shorter_bars_in_the_store_asks_nobody() -> None:
    rig = Rig(now_ms=BEGIN + 7 * STEP + 1000)
    bars = [bar(k) for k in range(40)]
    rig.put(bars, hours(bars))
    rig.store.put_bars(SHORT, bars[:3], REST)  # the follower asks for the others
    await rig.run(2.02)
    assert rig.got[LONG] == hours(bars[:24])
    assert LONG not in rig.rest.asked


async def test_shorter_bars_that_stay_away_are_not_waited_for_longer_than_ten_minutes() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(40)]
    rig.put(bars, hours(bars))
    rig.rest.away.add(SHORT)
    await rig.run(2.3)
    assert rig.got[LONG] == hours(bars[:24])
    late = [at - b.t - HOUR_MS for at, b in zip(rig.at[LONG], rig.got[LONG], strict=True)]
    assert all(600_000 <= ms <= 620_000 for ms in late)
    assert odd(rig) == rig.rest.asked.count(LONG) == 2


async def test_a_slot_asks_the_venue_once_its_shorter_slot_is_gone_also_while_it_waits() -> None:
    rig = Rig()
    bars = [bar(k) for k in range(40)]
    rig.put(bars, hours(bars))
    rig.rest.away.add(SHORT)
    async with rig.following():
        await rig.until(1.02)
        del rig.followers[SHORT]
        with capture_logs() as logs:
            rig.sources.settle()
        told = [log["merged_from"] for log in logs if log["event"] == "feed.sources"]
        assert told == [{"BTC-1h": ""}]
        assert rig.sources.asking == {LONG}
        await rig.until(2.02)
    assert rig.got[LONG] == hours(bars[:24])
    assert rig.at[LONG][0] < BEGIN + HOUR_MS + 80_000
    assert odd(rig) == 0


async def test_in_a_rush_a_longer_bar_goes_first_too_and_is_confirmed_with_the_shorter() -> None:
    rig = Rig(in_rush=True)
    bars = [bar(k) for k in range(40)]
    rig.put(bars, hours(bars))
    rig.rest.visible = lambda slot, b, now: b.t != bars[11].t or now > b.t + STEP + 200_000
    rig.coverage.connected(BEGIN)
    follower, close_ms = rig.followers[SHORT], BEGIN + HOUR_MS
    async with rig.following():
        await rig.until(0.999)
        follower.push(bar(11, volume=0.05, n=1))  # the stream lost the last state
        await rig.clock.until(close_ms + 3500)
        rig.coverage.heard(rig.clock.ms)
        offer = follower.offer(close_ms)
        assert offer
        rig.store.put_bars(SHORT, [offer[0]], offer[1])
        await follower.lead(*offer)
        await rig.clock.until(close_ms + 3600)
        assert rig.got[LONG] == hours([*bars[:11], bar(11, volume=0.05, n=1)])
        assert rig.provenances(LONG) == [STREAM]
        await rig.clock.until(close_ms + STEP + 20_000)
        assert rig.provenances(LONG) == [REST]
        await rig.until(2.01)
    assert rig.got[LONG][1:] == hours(bars[12:24])
    assert [copy.bar for copy in rig.store.held(LONG, BEGIN, 2**62)] == hours(bars[:24])
    assert LONG not in rig.rest.asked
    tally = rig.followers[LONG].tally
    assert (tally.confirmed, tally.provisional, tally.revised) == (2, 1, 1)


KINDS = st.lists(
    st.sampled_from(["traded"] * 6 + ["quiet", "late", "absent", "lost"]), min_size=24, max_size=48
)


@settings(max_examples=10, deadline=None)
@given(KINDS, st.integers(0, 14), st.integers(1, 10**6))
def test_every_hour_comes_once_in_order_and_ends_as_the_venue_has_it(kinds, start, units) -> None:
    bars, close = [], 100.0
    for k, kind in enumerate(kinds):
        one = quiet(k, close) if kind == "quiet" else bar(k, (units + k) / 1e5)
        close = one.close
        bars.append(one)
    lost = {bars[k].t for k, kind in enumerate(kinds) if kind == "lost"}
    late = {bars[k].t for k, kind in enumerate(kinds) if kind == "late"}
    absent = {bars[k].t for k, kind in enumerate(kinds) if kind == "absent"}
    rig = Rig(now_ms=BEGIN + start * STEP + 1000)
    rig.put([b for b in bars if b.t not in absent], hours(bars))

    def visible(slot, b: Bar, now: int) -> bool:
        newest = max((x.t for x in bars if x.volume and x.t <= now), default=0)
        if slot == SHORT and b.t in lost:  # for an hour
            return now >= b.t + HOUR_MS
        if slot == SHORT and b.t in late:
            return now >= b.t + STEP + 45_000
        return b.volume > 0 or b.t < newest

    rig.rest.visible = visible
    asyncio.run(rig.run(len(kinds) / PER_HOUR + 0.02))
    times = [b.t for b in rig.got[LONG]]
    assert times == list(range(times[0], times[0] + len(times) * HOUR_MS, HOUR_MS))
    assert times[-1] == BEGIN + (len(kinds) // PER_HOUR - 1) * HOUR_MS
    venue = {b.t: b for b in hours(bars)}
    assert rig.got[LONG] == [venue[t] for t in times]
    for copy in rig.store.held(LONG, BEGIN, 2**62):
        assert copy.provenance is REST or copy.bar.volume == 0
    for b, at in zip(rig.got[LONG], rig.at[LONG], strict=True):
        assert at - b.t - HOUR_MS < 700_000
