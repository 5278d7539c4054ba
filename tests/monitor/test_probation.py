import numpy as np
import pytest

from monitor.policy import HOUR_MS
from monitor.probation import Probabilities, Probation, Verdict, log_loss_excess

HORIZON_MS = HOUR_MS


def probation() -> Probation:
    return Probation("old", began_ms=0, hours=48.0, horizon_ms=HORIZON_MS, threshold=0.005)


def swap(seed: int, new: Probabilities, old: Probabilities, *, noise: float = 0.0) -> Verdict:
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
    assert verdict == Verdict(worse=False, pairs=0, excess=0.0, evidence=1.0)


def test_the_excess_is_in_nats_and_bounded_for_a_probability_of_zero() -> None:
    assert log_loss_excess((0.5, 0.25, 0.25), (0.25, 0.5, 0.25), 1) == pytest.approx(np.log(2))
    assert log_loss_excess((0.0, 1.0, 0.0), HONEST, 0) < 30


def test_no_single_pair_decides() -> None:
    watched = probation()
    watched.observe(0, 100.0, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    watched.observe(HORIZON_MS, 100.0, HONEST, HONEST)
    assert watched.verdict(HORIZON_MS) is None
    assert watched.evidence < 3
