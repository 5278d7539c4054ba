from daemon.core.bars import Bar, Hole
from daemon.core.clock import VenueClock
from daemon.market_data.bar_close import VenueMoment, closed_t, flat_bars, grace_ms
from tests.daemon.fake_venue import BTC, START, STEP
from tests.fakes import FakeClock


def test_a_bar_is_closed_only_after_its_grace_and_the_clocks_uncertainty() -> None:
    clock = FakeClock(ms=START + STEP + 2_999)
    venue = VenueClock(clock)
    assert closed_t(BTC, venue) == START - STEP
    clock.ms += 1
    assert closed_t(BTC, venue) == START
    venue.uncertainty_ms = 5_000.0
    assert closed_t(BTC, venue) == START - STEP
    clock.ms += 7_000
    assert closed_t(BTC, venue) == START


def test_the_grace_is_three_seconds_or_twice_what_the_clock_may_be_off() -> None:
    assert [grace_ms(off) for off in (0.0, 1_500.0, 4_000.0)] == [3_000, 3_000, 8_000]


def test_a_moment_tells_what_is_final_now_and_what_was_when_rest_was_asked() -> None:
    clock = FakeClock(ms=START + STEP)
    venue = VenueClock(clock)
    asked_at = clock.monotonic()
    clock.ms += 3_000
    at = VenueMoment.read(venue, asked_at)
    assert (at.closed_t(STEP), at.closed_when_asked_t(STEP)) == (START, START - STEP)


def test_a_quiet_hole_is_filled_with_bars_at_the_last_close() -> None:
    hole = Hole(START, START + STEP)
    flat = [Bar(t, 7.0, 7.0, 7.0, 7.0, 0.0) for t in (START, START + STEP)]
    assert flat_bars(hole, 7.0, STEP) == flat
