"""Means over coins, with an interval that does not take coins that move together for many draws."""

import numpy as np
import pytest

from daemon.backtest.performance import Floats, Performance, Track
from daemon.backtest.regret import Regret, RegretFigure
from daemon.backtest.results import BacktestResult, CellFailure, Counts, SlotBacktest, Tracks
from daemon.backtest.summaries import Summaries, Summary, means
from hyperdrift.slot_name import SlotName
from retrain.deciding.earning import SignalEarning

BARS = 4000


def returns(seed: int, bars: int = BARS) -> Floats:
    return np.random.default_rng(seed).normal(1e-5, 1e-3, bars)


def result(policy: str, net: Floats, retrains: int = 1, regret: float = 0.0) -> BacktestResult:
    pnl = float(net.sum())
    earned = SignalEarning(0, 0)
    figures = Performance(len(net), 0.6, None, None, 9, None, pnl, pnl, 0.0, earned)
    compared = Regret(RegretFigure("never", regret, 0, 0), None)
    return BacktestResult(policy, Counts(retrains), figures, regret=compared)


def add(
    to: Summaries, slot: str, nets: dict[str, Floats], *, since: int = 0, horizon: int = 12
) -> None:
    results = tuple(result(policy, net) for policy, net in nets.items())
    one = SlotBacktest(SlotName.parse(slot), horizon, results, 9.0)
    t = 300_000 * (since + np.arange(len(next(iter(nets.values())))))
    tracks = {name: Track(np.full(len(t), 0.6), np.ones(len(t)), net) for name, net in nets.items()}
    to.add(one, Tracks(t, tracks))


def width(summary: Summary) -> float:
    assert summary.pnl_interval is not None
    low, high = summary.pnl_interval
    assert summary.means.pnl is not None
    assert low < summary.means.pnl < high
    return high - low


def interval_width(*coins: Floats) -> float:
    summaries = Summaries()
    for i, net in enumerate(coins):
        add(summaries, f"C{i}-5m", {"never": net})
    (summary,) = summaries.rows()
    assert summary.cells == len(coins)
    assert summary.means.pnl == pytest.approx(np.mean([net.sum() for net in coins]))
    return width(summary)


def test_four_coins_that_move_as_one_show_no_more_than_one() -> None:
    alone = interval_width(returns(1))
    assert interval_width(*[returns(1)] * 4) == pytest.approx(alone)
    apart = interval_width(*(returns(seed) for seed in range(4)))
    assert apart == pytest.approx(alone / 2, rel=0.25)


def test_coins_with_other_spans_are_summed_where_they_are() -> None:
    summaries = Summaries()
    add(summaries, "A-5m", {"never": np.full(3000, 1e-5)})
    add(summaries, "B-5m", {"never": np.full(3000, 1e-5)}, since=2000)
    (summary,) = summaries.rows()
    assert summary.means.pnl == pytest.approx(0.03)
    assert summary.pnl_interval is not None
    assert summary.pnl_interval[0] < 0.03 < summary.pnl_interval[1]


def test_each_interval_and_horizon_has_its_own_rows_and_one_for_all_policies() -> None:
    summaries = Summaries()
    both = {"never": returns(1, 100), "daily": returns(2, 100)}
    add(summaries, "A-1h", both, horizon=4)
    add(summaries, "A-5m", both, horizon=24)
    add(summaries, "A-5m", both, horizon=12)
    add(summaries, "B-5m", both, horizon=12)
    rows = [(one.interval, one.horizon_bars, one.policy, one.cells) for one in summaries.rows()]
    assert rows == [
        *(("5m", 12, "never", 2), ("5m", 12, "daily", 2), ("5m", 12, None, 4)),
        *(("5m", 24, "never", 1), ("5m", 24, "daily", 1), ("5m", 24, None, 2)),
        *(("1h", 4, "never", 1), ("1h", 4, "daily", 1), ("1h", 4, None, 2)),
    ]
    assert all(one.pnl_interval is None for one in summaries.rows()), "too few bars"


def test_a_cell_without_figures_counts_in_no_mean() -> None:
    net = returns(1)
    failed = BacktestResult("never", Counts(5), failure=CellFailure("no bars"))
    slots = [
        SlotBacktest(SlotName("A", "5m"), 12, (result("never", net, 2, 0.02),), 9.0),
        SlotBacktest(SlotName("B", "5m"), 12, (result("never", net, 4, 0.04),), 9.0),
        SlotBacktest(SlotName("C", "5m"), 12, (failed,), 9.0),
    ]
    mean = means(slots)["never"]
    assert mean.log_loss_regret == pytest.approx(0.03)
    assert (mean.retrains, mean.pnl_regret) == (3, None)
    assert means(slots[2:])["never"].pnl is None
