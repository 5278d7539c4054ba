"""What a signal earns is told with an interval that knows how signals overlap."""

import numpy as np
import pytest

from retrain.deciding.earning import SignalEarning, earns, net_returns, one_at_a_time

H = 12


def overlapping(seed: int, n: int = 6_000, mean: float = 0.0) -> np.ndarray:
    """Make net returns of signals that come in runs, each run with one outcome."""
    rng = np.random.default_rng(seed)
    of_run = np.repeat(rng.normal(mean, 0.004, n // H), H)
    spoke = np.repeat(rng.random(n // H) < 0.1, H)
    return np.where(spoke, of_run, np.nan)


def test_the_sentence_is_the_owners() -> None:
    earning = SignalEarning(212, 60, 4.1, -2.0, 10.3)
    said = "+4.1 bp a signal after costs, 95 % -2.0 to +10.3 on 212 signals: not shown"
    assert str(earning) == said


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 3.0, "shown"), (-3.0, -0.1, "loses"), (-1.0, 1.0, "not shown")],
)
def test_the_verdict_is_that_of_the_whole_interval(low: float, high: float, verdict: str) -> None:
    assert SignalEarning(100, 50, (low + high) / 2, low, high).verdict == verdict


def test_runs_of_signals_that_share_an_outcome_are_not_counted_as_so_many() -> None:
    missed = 0
    for seed in range(60):
        found = earns(overlapping(seed), H)
        assert found.low_bp is not None
        assert found.high_bp is not None
        missed += not found.low_bp <= 0 <= found.high_bp
    assert missed <= 8  # of 60; a bootstrap of single signals misses 40


@pytest.mark.parametrize("trades", [30, 60, 140])
def test_trades_that_earn_nothing_are_not_shown_to_earn_or_lose_more_often_than_said(
    trades: int,
) -> None:
    drawn = (np.random.default_rng(seed).normal(0, 0.01, trades) for seed in range(300))
    wrong = sum(earns(net, 1).verdict != "not shown" for net in drawn)
    assert wrong <= 21  # of 300; 24 to 37 where trades are counted in place of blocks


def test_what_surely_earns_or_loses_is_said() -> None:
    assert earns(overlapping(0, mean=0.004), H).verdict == "shown"
    assert earns(overlapping(0, mean=-0.004), H).verdict == "loses"


def test_a_few_trades_show_nothing_however_much_they_gained() -> None:
    net = np.full(2_000, np.nan)
    net[100:108] = net[500:508] = 0.02
    found = earns(net, H)
    assert (found.signals, found.trades, found.verdict) == (16, 2, "not shown")
    assert str(found).endswith("on 16 signals in 2 trades, too few for an interval: not shown")


def test_without_a_signal_nothing_is_shown() -> None:
    found = earns(np.full(500, np.nan), H)
    assert str(found) == "no signal: not shown"
    assert found.as_dict()["mean_bp"] is None


def test_costs_are_of_signals_only() -> None:
    net = net_returns(np.array([2, 0, 1], np.int8), np.array([0.01, 0.01, 0.01]), 9.0)
    assert net[:2] == pytest.approx([0.0091, -0.0109])
    assert np.isnan(net[2])


def test_a_signal_while_one_is_open_opens_no_second_trade() -> None:
    spoke = np.zeros(40, bool)
    spoke[[0, 3, 12, 20, 24]] = True
    assert one_at_a_time(spoke, 12) == [0, 12, 24]
