"""The time left is estimated from work, which grows with the bars that a model learns from."""

import pytest
from rich.progress import Progress

from daemon.backtest.progress import _ESTIMATE_S, PolicyProgress
from tests.fakes import FakeClock

FIRST, BARS, DAY = 5_000, 35_000, 288


def test_the_time_left_is_right_though_candidates_take_longer_and_longer() -> None:
    clock = FakeClock()
    progress = Progress(
        get_time=lambda: clock.ms / 1000, disable=True, speed_estimate_period=_ESTIMATE_S
    )
    shown = PolicyProgress(progress, "BTC-5m daily", FIRST, BARS)
    (task,) = progress.tasks
    left = {}
    for bar in range(FIRST, BARS, DAY):
        shown.bars(bar)
        left[bar] = (clock.ms, task.time_remaining)
        clock.ms += bar // 3  # 5 seconds for three weeks of 5m bars, 12 for four months
    for bar in range(FIRST + 40 * DAY, BARS, DAY):
        at_ms, guessed = left[bar]
        assert guessed == pytest.approx((clock.ms - at_ms) / 1000, rel=0.1, abs=15)
    assert task.percentage == pytest.approx(100, abs=2)


def test_the_step_of_the_child_is_shown_until_bars_go_on() -> None:
    progress = Progress(disable=True)
    shown = PolicyProgress(progress, "BTC-5m daily", FIRST, BARS)
    shown.line({"event": "progress", "step": "refit", "percent": 75.0})
    shown.line({"event": "gate", "name": "loads"})
    assert progress.tasks[0].fields["step"] == "training, refit 75 %"
    shown.bars(FIRST + 1)
    assert progress.tasks[0].fields["step"] == ""
