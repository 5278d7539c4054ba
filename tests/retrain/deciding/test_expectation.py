"""A model speaks as often as it is expected to earn, and hardly where it is not."""

from dataclasses import replace

import numpy as np
import pytest

from retrain.deciding.decision import DOWN, UP, decide, signal_threshold
from retrain.deciding.earning import net_returns
from retrain.deciding.expectation import MOST_SIGNALS, DecisionRule, OutOfFold, RuleSettings, choose

HORIZON = 6
COST = RuleSettings().cost_bps


def market(seed: int, *, ic: float, n: int = 12_000, spread: float = 0.01) -> OutOfFold:
    """Make probabilities of a model that knows how much moves, and of the direction `ic`."""
    rng = np.random.default_rng(seed)
    wild = np.exp(0.5 * np.repeat(rng.normal(0, 1, n // 48 + 1), 48)[:n])
    lean = np.repeat(rng.normal(0, 1, n // HORIZON + 1), HORIZON)[:n]
    luck = np.repeat(rng.normal(0, 1, n // HORIZON + 1), HORIZON)[:n]
    moved = spread * wild * (ic * lean + np.sqrt(1 - ic**2) * luck)
    moves = 0.07 * wild * (1 + 0.02 * rng.normal(0, 1, n))
    tilt = np.clip(0.1 * lean, -0.5, 0.5) * moves
    p = np.column_stack((moves - tilt, 1 - 2 * moves, moves + tilt))
    labels = np.where(moved > 0.015, UP, np.where(moved < -0.015, DOWN, 1)).astype(np.int8)
    return OutOfFold(p, labels, moved, HORIZON, judged_rows=n // 4)


def shares(rule: DecisionRule, rows: OutOfFold) -> tuple[float, float]:
    decided = decide(rows.probabilities, *rule.signal)
    return float(np.mean(decided == UP)), float(np.mean(decided == DOWN))


@pytest.mark.parametrize("seed", range(3))
def test_a_model_without_direction_is_nearly_silent_on_both_sides(seed: int) -> None:
    rows = market(seed, ic=0)
    rule = choose(rows, RuleSettings())
    for share in shares(rule, rows):
        assert 0.0049 <= share < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_a_model_with_direction_speaks_more_and_earns_more_than_a_fixed_rate(seed: int) -> None:
    rows, later = market(seed, ic=0.2), market(seed + 100, ic=0.2)
    rule = choose(rows, RuleSettings())
    assert min(shares(rule, rows)) > 0.06
    assert rule.kept_low > 0
    fixed = signal_threshold(rows.probabilities, 0.05, 0.05)
    earned = [
        float(np.nansum(net_returns(decide(later.probabilities, *s), later.future_return, COST)))
        for s in (rule.signal, fixed)
    ]
    assert earned[0] > earned[1] > 0


@pytest.mark.parametrize("ic", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("least", [0.005, 0.03])
def test_no_side_speaks_less_than_asked_nor_on_more_than_a_fifth(ic: float, least: float) -> None:
    rows = market(1, ic=ic)
    for share in shares(choose(rows, RuleSettings(min_signal_rate=least)), rows):
        assert least - 2e-4 <= share <= MOST_SIGNALS + 2e-4


def test_what_costs_more_is_said_less_often() -> None:
    rows = market(2, ic=0.2)
    cheap, dear = (choose(rows, RuleSettings(cost_bps=cost)) for cost in (1.0, 40.0))
    assert cheap.up.share > 2 * dear.up.share
    assert cheap.up.share == pytest.approx(MOST_SIGNALS, abs=1e-3)


def test_the_drift_of_the_market_while_it_learnt_is_no_direction() -> None:
    rows = market(3, ic=0)
    risen = replace(rows, future_return=rows.future_return + 0.004)
    rule = choose(risen, RuleSettings())
    assert max(shares(rule, risen)) < 0.02


def test_a_wild_month_does_not_silence_the_calm_one_after_it() -> None:
    rows = market(4, ic=0)
    p = rows.probabilities.copy()
    calm = slice(3 * len(p) // 4, None)
    p[calm] = 0.85 * p[calm] + 0.15 * np.array([0.02, 0.96, 0.02])
    rule = choose(replace(rows, probabilities=p), RuleSettings())
    of_all = decide(p[calm], *signal_threshold(p, 0.005, 0.005))
    ours = decide(p[calm], *rule.signal)
    assert np.sum(ours == UP) > np.sum(of_all == UP)


def test_where_few_rows_judge_ten_signals_a_side_are_expected() -> None:
    rows = replace(market(5, ic=0, n=1_200), judged_rows=300)
    rule = choose(rows, RuleSettings())
    assert min(shares(rule, rows)) >= 10 / 300 - 1e-3


def test_a_constant_model_has_no_signal_and_an_estimate_all_the_same() -> None:
    rows = market(6, ic=0, n=1_200)
    constant = replace(rows, probabilities=np.tile([0.2, 0.6, 0.2], (1_200, 1)))
    rule = choose(constant, RuleSettings())
    assert shares(rule, constant) == (0.0, 0.0)
    assert rule.as_dict()["up"]["signals"] == 0


def test_the_estimate_says_what_the_signals_out_of_fold_were_worth() -> None:
    rows = market(7, ic=0.2)
    rule = choose(rows, RuleSettings())
    decided = decide(rows.probabilities, *rule.signal)
    gained = rows.future_return[decided == UP].mean() * 1e4 - COST
    assert rule.up.earned.mean_bp == pytest.approx(gained)
    assert rule.up.quietest <= rule.up.share
    assert choose(rows, RuleSettings()) == rule
