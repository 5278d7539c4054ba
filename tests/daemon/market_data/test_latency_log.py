import pytest

from daemon.core.clock import VenueClock
from daemon.market_data.latency_log import LatencyLog
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.fakes import FakeClock

BEGIN = 1_750_000_000_000 // 86_400_000 * 86_400_000


def told(
    interval: str, delays_s: list[float], excused_bars: int = 0, speed: float = 1.0
) -> list[str]:
    """Hand on bars so long after their closes; return what was said, and the delays."""
    clock, slot = FakeClock(ms=BEGIN), SlotName("BTC", interval)
    venue = VenueClock(clock, speed)
    lateness = LatencyLog(slot, venue)
    clock.ms += round(excused_bars * slot.interval_ms / speed)
    lateness.excuse()
    with capture_logs() as logs:
        for number, delay_s in enumerate(delays_s):
            close_ms = BEGIN + (number + 1) * slot.interval_ms
            wait_ms = close_ms + delay_s * 1000 - venue.now_ms()
            clock.ms += max(0, round(wait_ms / speed))
            lateness.handed_on(close_ms - slot.interval_ms)
    return [f"{line['event']} {line.get('delay_s', '')}".strip() for line in logs]


@pytest.mark.parametrize(
    ("interval", "limit_s"), [("1m", 45), ("5m", 60), ("1h", 720), ("1d", 17_280)]
)
def test_a_bar_is_late_after_a_fifth_of_its_interval_but_not_while_rest_may_lag(
    interval: str, limit_s: float
) -> None:
    assert told(interval, [3, limit_s]) == []
    assert told(interval, [3, limit_s + 1]) == [f"feed.bar_late {limit_s + 1.0}"]


def test_an_episode_is_two_lines_and_ends_with_three_bars_on_time() -> None:
    late, on_time = "feed.bar_late 61.0", "feed.bars_on_time"
    assert told("5m", [3, 61, 200, 3, 3]) == [late]
    assert told("5m", [3, 61, 200, 3, 3, 3]) == [late, on_time]
    assert told("5m", [3, 61, 3, 3, 61, 3, 3, 3, 61]) == [late, on_time, late]


def test_a_machine_at_its_limit_is_one_episode() -> None:
    assert told("5m", [61, 3] * 100) == ["feed.bar_late 61.0"]


def test_bars_that_closed_before_they_could_be_expected_are_not_late() -> None:
    assert told("5m", [61], excused_bars=0) == ["feed.bar_late 61.0"]
    assert told("5m", [3] * 20, excused_bars=20) == []


def test_on_a_fast_replay_a_fifth_of_a_second_is_never_late() -> None:
    assert told("5m", [590], speed=3000) == []
    assert told("5m", [660], speed=3000) == ["feed.bar_late 660.0"]
