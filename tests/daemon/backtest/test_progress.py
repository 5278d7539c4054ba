"""The time left is estimated from work, which grows with the bars that a model learns from."""

import pytest
from rich.progress import Progress

from daemon.backtest.progress import _ESTIMATE_S, GridProgress, PolicyProgress, title, work
from daemon.config.schema import SlotSection
from hyperdrift.slot_name import SlotName
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


def test_the_time_left_of_a_grid_counts_the_work_of_cells_that_have_not_begun() -> None:
    clock = FakeClock()
    progress = Progress(get_time=lambda: clock.ms / 1000, disable=True, speed_estimate_period=1e9)
    sections = [SlotSection(coin=coin) for coin in "ABCD"]
    policies = ("never", "daily")
    planned = {
        title(each, name): work(each.name, name, FIRST, BARS)
        for each in sections
        for name in policies
    }
    total = sum(planned.values())
    grid = GridProgress(progress, planned)
    for cell in grid.cells_of(sections[3], policies):
        cell.skip()  # it was done before, and says nothing of how fast the others will be
    for section in sections[:2]:
        for name, cell in zip(policies, grid.cells_of(section, policies), strict=True):
            begun = cell.begun(FIRST, BARS)
            for part in (0.25, 0.5, 0.75):
                clock.ms += round(1000 * planned[title(section, name)] / 4)
                begun.bars(round(FIRST + part * (BARS - FIRST)))
            clock.ms += round(1000 * planned[title(section, name)] / 4)
            begun.end()
    assert grid.left_s == pytest.approx(total / 4, rel=0.1)
    assert len(progress.tasks) == 1, "only what runs has a line"


def test_a_policy_that_retrains_daily_takes_longer_than_one_that_never_does() -> None:
    slot = SlotName("BTC", "5m")
    never, daily = (work(slot, name, FIRST, BARS) for name in ("never", "daily"))
    assert daily > 20 * never
    assert work(SlotName("BTC", "1d"), "daily", 500, 600) > work(slot, "daily", 500, 600)


def test_one_slot_has_no_line_for_all() -> None:
    progress = Progress(disable=True)
    section = SlotSection(coin="BTC")
    grid = GridProgress(progress, {title(section, "never"): 1.0})
    (cell,) = grid.cells_of(section, ["never"])
    cell.begun(FIRST, BARS).end()
    assert [task.description for task in progress.tasks] == ["BTC-5m 12 bars never"]
    assert grid.left_s is None
