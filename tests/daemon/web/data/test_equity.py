import pytest

from daemon.web.data.equity import equity
from hyperdrift.slot_name import DAY_MS
from monitor.watch import SignalGain

NOW_MS = 1_750_000_000_000


def gains(*returns: float, step_ms: int = DAY_MS) -> list[SignalGain]:
    first = NOW_MS - (len(returns) - 1) * step_ms
    return [
        SignalGain(first + number * step_ms, gain, sum(returns[: number + 1]))
        for number, gain in enumerate(returns)
    ]


def test_the_line_is_the_sum_of_returns_in_basis_points() -> None:
    points = equity(gains(0.001, -0.002, 0.0005), NOW_MS)
    assert [point.total_bp for point in points] == [10.0, -10.0, -5.0]
    assert points[-1].t == NOW_MS
    assert equity([], NOW_MS) == ()


def test_it_begins_at_nothing_thirty_days_ago() -> None:
    points = equity(gains(*[0.01] * 45), NOW_MS)
    assert len(points) == 31
    assert points[0].total_bp == pytest.approx(100)
    assert points[-1].total_bp == pytest.approx(3100)
    assert equity(gains(*[0.01] * 5), NOW_MS + 31 * DAY_MS) == ()


def test_the_small_picture_is_the_end_of_the_large_one() -> None:
    whole = gains(*[0.001] * 20)
    assert equity(whole, NOW_MS, newest=7) == equity(whole, NOW_MS)[-7:]
    assert equity(whole, NOW_MS, newest=99) == equity(whole, NOW_MS)
