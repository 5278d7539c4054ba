import asyncio
from dataclasses import dataclass

from daemon.core.clock import VenueClock, watch_steps
from tests.captured import capture_logs
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


def test_a_jump_that_nothing_explains_is_believed_after_an_hour_of_insisting() -> None:
    for jump in (2 * HOUR, -2 * HOUR):
        clock = FakeClock()
        venue = VenueClock(clock)
        start = clock.ms + 50 * HOUR  # the host's clock is wrong, and always was
        learn(venue, clock, start)
        learn(venue, clock, start + jump)
        assert venue.now_ms() == start
        assert not venue.is_trusted
        clock.ms += HOUR - 1
        learn(venue, clock, start + jump + HOUR)
        assert not venue.is_trusted
        assert venue.now_ms() == start + HOUR - 1
        clock.ms += 1
        learn(venue, clock, start + jump + HOUR)
        assert venue.now_ms() == start + jump + HOUR
        assert venue.is_trusted
        assert venue.jumps == 1


def test_a_jump_that_is_not_repeated_is_forgotten() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 5 * HOUR)
    learn(venue, clock, 6 * HOUR)
    assert not venue.is_trusted
    learn(venue, clock, 5 * HOUR + 10)
    assert venue.now_ms() == 5 * HOUR + 10
    assert venue.is_trusted


def test_a_jump_to_the_hosts_own_time_is_believed_at_once() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, clock.ms - HOUR)
    learn(venue, clock, clock.ms - 150)
    assert venue.now_ms() == clock.ms - 150
    assert venue.is_trusted
    assert venue.jumps == 1


def test_a_host_that_slept_believes_the_venue_at_once() -> None:
    @dataclass
    class Sleeper(FakeClock):
        slept_ms: int = 0

        def now_ms(self) -> int:
            return self.ms + self.slept_ms  # the monotonic clock stands still in sleep

    clock = Sleeper()
    venue = VenueClock(clock)
    learn(venue, clock, clock.ms + 50 * HOUR)
    clock.slept_ms = 8 * HOUR
    learn(venue, clock, clock.ms + 58 * HOUR)
    assert venue.now_ms() == clock.ms + 58 * HOUR


def test_a_replay_that_was_halted_is_believed_at_once() -> None:
    clock = FakeClock()
    venue = VenueClock(clock, 60.0)
    learn(venue, clock, 500 * HOUR)
    clock.ms += HOUR // 10
    learn(venue, clock, 500 * HOUR)
    assert venue.now_ms() == 500 * HOUR
    assert venue.is_trusted
    clock.ms += 1000
    learn(venue, clock, 506 * HOUR + 60_000)  # the halt was somebody's fault, and is undone
    assert venue.now_ms() == 506 * HOUR + 60_000


def test_an_answer_over_a_bad_line_does_not_blur_what_is_known() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, 5 * HOUR)
    sent = clock.monotonic()
    clock.ms += 20_000
    venue.learn(5 * HOUR + 19_000, sent, clock.monotonic())
    assert venue.uncertainty_ms == 0
    assert venue.now_ms() == 5 * HOUR + 20_000
    clock.ms += 590_000  # so long ago that the clocks may have drifted apart
    venue.learn(5 * HOUR + 609_000, clock.monotonic() - 20, clock.monotonic())
    assert venue.uncertainty_ms == 20_000
    assert venue.is_vague


def test_an_answer_over_a_bad_line_still_tells_of_a_jump_and_of_its_end() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    start = clock.ms + 50 * HOUR
    learn(venue, clock, start)
    venue.learn(start + 2 * HOUR, clock.monotonic() - 20, clock.monotonic())
    assert not venue.is_trusted
    venue.learn(start, clock.monotonic() - 20, clock.monotonic())
    assert venue.is_trusted
    assert venue.uncertainty_ms == 0


async def test_who_waits_notices_that_the_clock_was_set_ahead() -> None:
    clock = FakeClock()
    venue = VenueClock(clock)
    learn(venue, clock, clock.ms - 2 * HOUR)
    until, real_sleep = clock.ms - HOUR, clock.sleep

    async def sleep(seconds: float) -> None:
        await real_sleep(seconds)
        learn(venue, clock, clock.ms)

    clock.sleep = sleep  # type: ignore[method-assign]
    await venue.sleep_until(until)
    assert sum(clock.slept) <= 120


def test_the_age_of_the_time_is_infinite_until_it_is_learnt() -> None:
    clock = FakeClock()
    venue = VenueClock(clock, 2.0)
    assert venue.age_s() == float("inf")
    learn(venue, clock, 0)
    clock.ms += 5_000
    assert venue.age_s() == 10


async def test_a_step_of_the_hosts_clock_is_told_once_and_a_slow_drift_is_not() -> None:
    clock = FakeClock()
    with capture_logs() as logs:
        watching = asyncio.create_task(watch_steps(clock))
        await asyncio.sleep(0)
        for ahead_ms in (0, 4_000, 7_204_000, 7_204_000, 4_000, 0):
            clock.ahead_ms = ahead_ms
            looks = len(clock.slept)
            while len(clock.slept) < looks + 2:
                await asyncio.sleep(0)
        watching.cancel()
    assert [(entry["event"], entry["by_s"]) for entry in logs] == [
        ("host.clock_stepped", 7200.0),
        ("host.clock_stepped", -7200.0),
    ]
    assert all("timedatectl" in entry["remedy"] for entry in logs)


def test_before_the_venue_tells_its_time_a_stored_bar_does_where_the_hosts_clock_cannot() -> None:
    clock = FakeClock()
    before_ms, after_ms = clock.ms - 10**9, clock.ms + 10**9
    assert VenueClock(clock, 1.0, before_ms).now_ms() == clock.ms
    assert VenueClock(clock, 1.0, after_ms).now_ms() == after_ms  # the host's clock is behind
    assert VenueClock(clock, 500.0, before_ms).now_ms() == before_ms
    assert [VenueClock(clock, 1.0).is_known, VenueClock(clock, 500.0).is_known] == [True, False]
    assert VenueClock(clock, 500.0, before_ms).is_known
    assert not VenueClock(clock).is_learnt
