import numpy as np
import pytest

from benchmarks.probation import DIRECTIONS, SPOILT
from benchmarks.probation import swap as spoilt_swap
from monitor.policy import HOUR_MS
from monitor.probation import Probation, ProbationVerdict, log_loss_excess
from monitor.questions import Probabilities

HORIZON_MS = HOUR_MS


def probation() -> Probation:
    return Probation("old", began_ms=0, hours=48.0, horizon_ms=HORIZON_MS, threshold=0.005)


def swap(
    seed: int, new: Probabilities, old: Probabilities, *, noise: float = 0.0
) -> ProbationVerdict:
    """Watch one swap in a market where UP and DOWN come up 15 % of the time each."""
    rng = np.random.default_rng(seed)
    watched, close, bar_ms = probation(), 100.0, HORIZON_MS // 12
    for bar in range(12 * 49):
        if bar % 12 == 0:
            close *= 1 + rng.choice([-0.01, 0.0, 0.01], p=[0.15, 0.7, 0.15])
        said = [np.clip(np.add(p, noise * rng.standard_normal(3)), 0.01, 1) for p in (new, old)]
        p, shadow = ((s / s.sum()).tolist() for s in said)
        watched.observe(bar * bar_ms, close, tuple(p), tuple(shadow))
        verdict = watched.verdict((bar + 1) * bar_ms)
        if verdict is not None:
            return verdict
    raise AssertionError("a probation must end")


HONEST: Probabilities = (0.15, 0.7, 0.15)
BROKEN: Probabilities = (0.48, 0.04, 0.48)


def test_an_equal_model_is_kept_in_at_least_95_of_100_swaps() -> None:
    kept = sum(not swap(seed, HONEST, HONEST, noise=0.1).worse for seed in range(100))
    assert kept >= 95


def test_a_clearly_worse_model_is_rolled_back_within_a_day() -> None:
    verdicts = [swap(seed, BROKEN, HONEST) for seed in range(10)]
    assert all(verdict.worse for verdict in verdicts)
    assert np.median([verdict.pairs for verdict in verdicts]) <= 24
    assert "worse than the previous model" in str(verdicts[0])


def test_a_better_model_is_confirmed_after_48_hours() -> None:
    verdict = swap(1, HONEST, BROKEN)
    assert not verdict.worse
    assert verdict.pairs == 47
    assert verdict.excess < 0
    assert "no evidence" in str(verdict)


def test_horizons_do_not_overlap_and_a_gap_voids_its_pair() -> None:
    watched = probation()
    for bar in range(24):
        watched.observe(bar * HORIZON_MS // 12, 100.0, HONEST, HONEST)
    watched.observe(5 * HORIZON_MS, 100.0, HONEST, HONEST)
    verdict = watched.verdict(48 * HOUR_MS)
    assert verdict is not None
    assert verdict.pairs == 1


def test_a_bar_that_only_one_model_scored_opens_no_pair() -> None:
    watched = probation()
    for bar in range(100):
        watched.observe(bar * HORIZON_MS, 100.0, HONEST, None)
    verdict = watched.verdict(48 * HOUR_MS)
    assert verdict == ProbationVerdict(worse=False, pairs=0, excess=0.0, evidence=1.0)


def test_the_excess_is_in_nats_and_bounded_for_a_probability_of_zero() -> None:
    assert log_loss_excess((0.5, 0.25, 0.25), (0.25, 0.5, 0.25), 1) == pytest.approx(np.log(2))
    assert log_loss_excess((0.0, 1.0, 0.0), HONEST, 0) < 30


def test_no_single_pair_decides() -> None:
    watched = probation()
    watched.observe(0, 100.0, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    watched.observe(HORIZON_MS, 100.0, HONEST, HONEST)
    assert watched.verdict(HORIZON_MS) is None
    assert watched.evidence < 3


def test_before_any_outcome_the_estimate_bounds_the_excess_by_either_model_being_right() -> None:
    watched = probation()
    watched.observe(0, 100.0, BROKEN, HONEST)
    early = watched.estimate()
    assert (early["bars"], early["pairs"]) == (1, 0)
    assert "excess" not in early
    assert early["excess_if_previous_right"] == pytest.approx(
        0.3 * np.log(0.15 / 0.48) + 0.7 * np.log(0.7 / 0.04)
    )
    assert early["excess_if_new_right"] < 0 < early["excess_if_previous_right"]
    watched.observe(HORIZON_MS, 100.0, BROKEN, HONEST)
    assert watched.estimate()["excess"] == pytest.approx(np.log(0.7 / 0.04))


def test_two_models_that_say_the_same_are_estimated_to_differ_by_nothing() -> None:
    watched = probation()
    watched.observe(0, 100.0, HONEST, HONEST)
    estimate = watched.estimate()
    assert estimate["excess_if_previous_right"] == estimate["excess_if_new_right"] == 0


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_where_the_market_changes_by_the_hour_an_equal_model_is_kept(direction: float) -> None:
    ends = [spoilt_swap(seed, SPOILT["equal"], direction) for seed in range(1_000, 1_040)]
    assert sum(verdict.worse for verdict, _ in ends) <= 2
    assert all(hours == 48 for verdict, hours in ends if not verdict.worse)


@pytest.mark.parametrize("fault", ["UP and DOWN swapped", "bad class order"])
def test_a_spoilt_model_is_rolled_back_before_the_48_hours_are_over(fault: str) -> None:
    ends = [spoilt_swap(seed, SPOILT[fault], 1.5) for seed in range(1_000, 1_020)]
    assert sum(verdict.worse for verdict, _ in ends) >= 17
    assert np.median([hours for _, hours in ends]) < 30


def test_the_interval_of_the_estimate_holds_from_the_first_pair_on_at_every_look() -> None:
    rng, horizon = np.random.default_rng(3), 3_600_000
    missed, records, width = 0, 300, 0.0
    for _ in range(records):
        probation = Probation(
            "old", began_ms=0, hours=48, horizon_ms=horizon, threshold=0.005, level=0.05
        )
        price, expected, left_out = 100.0, 0.0, False
        for pair in range(48):
            p, shadow = (tuple(rng.dirichlet((3, 6, 3))) for _ in range(2))
            probation.observe(pair * horizon, price, p, shadow)
            truth = rng.dirichlet((3, 6, 3))
            clipped = [max(-2, min(2, log_loss_excess(p, shadow, label))) for label in range(3)]
            expected += float(np.dot(truth, clipped))
            price *= 1 + 0.01 * (int(rng.choice(3, p=truth)) - 1)
            probation.observe((pair + 1) * horizon, price, None, None)
            seen = probation.estimate()
            mean = expected / (pair + 1)
            width = seen["excess_high"] - seen["excess_low"]
            left_out |= not seen["excess_low"] <= mean <= seen["excess_high"]
        missed += left_out
    assert missed <= 0.05 * records
    assert width < 0.9
