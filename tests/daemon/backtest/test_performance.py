"""What signals would have earned is counted once, after fees, without a look ahead."""

from collections.abc import Sequence

import numpy as np
import pytest

from daemon.backtest.performance import Answers, measure, trades

STEP = 300_000


def answers(close: Sequence[float], said: dict[int, tuple[float, float, float]]) -> Answers:
    """Return bars on which only `said` ones were answered, with thresholds of 0.6."""
    p = np.full((len(close), 3), np.nan)
    for bar, triple in said.items():
        p[bar] = triple
    limit = np.full(len(close), 0.6)
    moves = np.full(len(close), 0.005)
    return Answers(np.arange(len(close)) * STEP, np.array(close), p, limit, limit, moves)


UP, DOWN, NEUTRAL = (0.1, 0.2, 0.7), (0.7, 0.2, 0.1), (0.2, 0.6, 0.2)


def test_a_signal_earns_the_return_over_the_horizon_less_the_fee() -> None:
    told = answers([100, 101, 102, 103, 104], {0: UP, 1: NEUTRAL})
    figures, track = measure(told, 2, cost_bps=10)
    assert (figures.signals, figures.win_rate) == (1, 1.0)
    assert figures.pnl == pytest.approx(0.02 - 0.001)
    assert track.equity.tolist() == pytest.approx([0, 0, 0.019, 0.019, 0.019])


def test_a_down_signal_earns_when_the_price_falls() -> None:
    (trade,) = trades(answers([100, 99, 98], {0: DOWN}), 2)
    assert trade.gain == pytest.approx(0.02)


def test_signals_are_followed_one_at_a_time() -> None:
    done = trades(answers([100.0] * 8, {0: UP, 1: UP, 2: UP, 3: DOWN, 7: UP}), 2)
    assert [trade.closed for trade in done] == [2, 4], "the last has no outcome yet"


def test_a_signal_whose_outcome_lies_in_a_gap_is_not_counted() -> None:
    told = answers([100, 101, 102, 103], {0: UP})
    told.t[2:] += 10 * STEP
    assert trades(told, 2) == []


def test_an_answer_between_both_sides_is_no_signal() -> None:
    told = answers([100, 101, 102], {0: (0.6, 0.0, 0.6)})
    assert trades(told, 1) == []


def test_an_answer_whose_outcome_lies_in_a_gap_is_not_judged() -> None:
    told = answers([100, 101, 102, 103, 104], dict.fromkeys(range(5), NEUTRAL))
    told.t[2:] += 10 * STEP
    figures, track = measure(told, 2, cost_bps=0)
    assert figures.bars == 1
    assert np.isfinite(track.loss).tolist() == [False, False, True, False, False]


def test_drawdown_is_the_largest_fall_from_a_peak() -> None:
    close = [100, 101, 101, 99, 99, 98]
    figures, _ = measure(answers(close, {0: UP, 2: UP, 4: UP}), 1, cost_bps=0)
    assert figures.drawdown == pytest.approx(2 / 101 + 1 / 99)


def test_scores_are_of_the_answered_bars_only() -> None:
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, 400)))
    moved = np.append(close[1:] / close[:-1] - 1, 0)
    knowing = {
        bar: (0.8, 0.1, 0.1) if moved[bar] < -0.005 else (0.1, 0.1, 0.8) if moved[bar] > 0.005
        else (0.1, 0.8, 0.1)
        for bar in range(100, 400)
    }  # fmt: skip
    figures, _ = measure(answers(close.tolist(), knowing), 1, cost_bps=9)
    assert figures.bars == 299, "the outcome of the last one is not known"
    assert figures.log_loss == pytest.approx(-np.log(0.8))
    assert figures.skill is not None
    assert 0.5 < figures.skill < 1
    assert figures.ic is not None
    assert figures.ic > 0.7


def test_nothing_answered_is_no_figure_instead_of_a_zero() -> None:
    figures, _ = measure(answers([100.0] * 5, {}), 1, cost_bps=9)
    assert (figures.log_loss, figures.skill, figures.ic, figures.win_rate) == (None,) * 4
    assert (figures.signals, figures.pnl, figures.drawdown) == (0, 0.0, 0.0)


def test_costs_are_taken_from_every_trade_and_told_apart() -> None:
    figures, _ = measure(answers([100, 101, 102, 103, 104], {0: UP, 2: UP}), 2, cost_bps=50)
    assert figures.pnl_before_costs == pytest.approx(0.02 + 2 / 102)
    assert figures.pnl == pytest.approx(figures.pnl_before_costs - 2 * 0.005)
    assert figures.pnl_interval is None, "two trades tell nothing"


def test_the_interval_of_the_sum_is_that_of_a_signal_times_the_signals() -> None:
    rng = np.random.default_rng(0)
    close = (100 * np.exp(np.cumsum(rng.normal(0, 0.002, 800)))).tolist()
    figures, _ = measure(answers(close, dict.fromkeys(range(0, 796, 2), UP)), 1, cost_bps=9)
    earned, ends = figures.earned, figures.pnl_interval
    assert earned.trades == figures.signals == 398
    assert earned.mean_bp == pytest.approx(1e4 * figures.pnl / 398)
    assert ends is not None
    assert ends[0] < figures.pnl < ends[1]
    # 398 independent returns with a deviation of 20 bp: their sum has one of 4 %.
    assert ends[1] - ends[0] == pytest.approx(2 * 1.96 * 0.04, rel=0.25)
    assert figures.document()["earned"]["verdict"] == earned.verdict


def test_each_bar_is_labelled_as_its_own_model_asked() -> None:
    told = answers([100, 100.4, 100.8], {0: UP, 1: UP})
    told.limit[1] = 0.001
    _, track = measure(told, 1, cost_bps=9)
    assert track.loss[:2] == pytest.approx([-np.log(0.2), -np.log(0.7)]), "NEUTRAL, then UP"
