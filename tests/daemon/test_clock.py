from daemon.clock import VenueClock
from tests.fakes import FakeClock

HOUR = 3_600_000


def learn(venue: VenueClock, clock: FakeClock, ms: int) -> None:
    venue.learn(ms, clock.monotonic(), clock.monotonic())


def test_the_first_time_learnt_is_believed_whatever_the_host_says() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 5 * HOUR)
    assert venue.now_ms() == 5 * HOUR
    assert venue.is_trusted
    assert venue.jumps == 0


def test_a_step_ahead_is_believed_when_it_is_said_again_later() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 5 * HOUR)
    learn(venue, clock, 6 * HOUR)
    assert venue.now_ms() == 5 * HOUR
    assert not venue.is_trusted
    clock.ms += 19_000
    learn(venue, clock, 6 * HOUR + 19_000)
    assert not venue.is_trusted
    clock.ms += 1_000
    learn(venue, clock, 6 * HOUR + 20_000)
    assert venue.now_ms() == 6 * HOUR + 20_000
    assert venue.is_trusted
    assert venue.jumps == 1


def test_a_step_ahead_that_is_not_repeated_is_forgotten() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 5 * HOUR)
    learn(venue, clock, 6 * HOUR)
    learn(venue, clock, 5 * HOUR + 10)
    assert venue.now_ms() == 5 * HOUR + 10
    assert venue.is_trusted
    clock.ms += 60_000
    learn(venue, clock, 6 * HOUR)
    assert not venue.is_trusted


def test_a_step_back_is_believed_at_once_because_it_can_only_make_bars_later() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 5 * HOUR)
    learn(venue, clock, 4 * HOUR)
    assert venue.now_ms() == 4 * HOUR
    assert venue.is_trusted
    assert venue.jumps == 1


async def test_who_waits_notices_that_the_clock_was_set_ahead() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 4 * HOUR)
    real_sleep = clock.sleep

    async def sleep(seconds: float) -> None:
        await real_sleep(seconds)
        if len(clock.slept) in {1, 2}:
            learn(venue, clock, 5 * HOUR + clock.ms)

    clock.sleep = sleep  # type: ignore[method-assign]
    await venue.sleep_until(5 * HOUR)
    assert sum(clock.slept) <= 120


def test_the_age_of_the_time_is_infinite_until_it_is_learnt() -> None:
    clock = FakeClock()
    venue = VenueClock(clock, 2.0)
    assert venue.age_s() == float("inf")
    learn(venue, clock, 0)
    clock.ms += 5_000
    assert venue.age_s() == 10
