"""A side that surely hardly happens is refused, and what signals earn is told."""

from dataclasses import replace

import numpy as np
import pytest

from retrain.deciding.earning import SignalEarning
from retrain.judging.gate_limits import Gate
from retrain.judging.signal_gates import all_classes, earns
from retrain.scores import Scores, score

NEVER_QUIET = (1.0, 1.0, 1.0)


def scored(ups: list[int], downs: list[int], n: int = 6_000) -> Scores:
    """Score a model that gives signals on exactly these bars."""
    rng = np.random.default_rng(0)
    p = np.tile([0.1, 0.8, 0.1], (n, 1))
    p[ups], p[downs] = [0.1, 0.4, 0.5], [0.5, 0.4, 0.1]
    labels = rng.choice(3, n, p=[0.1, 0.8, 0.1]).astype(np.int8)
    settings = {"prior": p.mean(axis=0), "up": 0.3, "down": 0.3, "horizon_bars": 12}
    return score(labels, p, rng.normal(0, 0.003, n), **settings)


def judged(test: Scores, quietest: tuple[float, float, float], limit: float) -> Gate:
    return all_classes(test, test, quietest, limit)


OFTEN = list(range(0, 6_000, 100))


def test_sides_at_the_limit_pass() -> None:
    gate = judged(scored(OFTEN, [b + 50 for b in OFTEN]), NEVER_QUIET, 0.005)
    assert gate.passed
    assert gate.value == pytest.approx(0.01)


def test_a_side_that_chance_may_have_kept_below_passes_and_the_verdict_says_so() -> None:
    few = [b + i for b in (500, 2_500, 4_500) for i in range(8)]  # 0.4 %, in three runs
    gate = judged(scored(OFTEN, few), NEVER_QUIET, 0.005)
    assert gate.passed
    assert gate.value == pytest.approx(0.004)
    assert gate.verdict.endswith("and chance or a calm market may explain so few DOWN")


def test_a_side_that_is_surely_below_is_refused_unless_training_bars_were_as_quiet() -> None:
    rare = scored(OFTEN, [1_000, 3_000, 5_000])
    assert not judged(rare, NEVER_QUIET, 0.005).passed
    assert not judged(rare, (0.001, 1.0, 0.001), 0.005).passed
    assert judged(rare, (0.0004, 1.0, 0.0004), 0.005).passed


def test_a_side_that_never_happens_is_refused_however_quiet_training_bars_were() -> None:
    gate = judged(scored(OFTEN, []), (0.0, 1.0, 0.0), 0.005)
    assert (gate.passed, gate.value) == (False, 0.0)


def test_a_refusal_says_that_the_market_was_calmer() -> None:
    silent = scored(OFTEN, [])
    learnt = replace(silent, class_shares=(0.2, 0.6, 0.2))
    verdict = all_classes(learnt, silent, NEVER_QUIET, 0.005).verdict
    neutral = f"{silent.class_shares[1]:.0%}"
    assert verdict.endswith(f"the market was calmer there, NEUTRAL {neutral} after 60% in training")


def test_a_model_that_is_never_neutral_is_refused() -> None:
    every = range(6_000)
    gate = judged(scored(list(every[::2]), list(every[1::2])), (0.0, 1.0, 0.0), 0.005)
    assert not gate.passed


@pytest.mark.parametrize(
    ("low", "high", "refused"), [(0.1, 8.0, False), (-2.0, 8.0, True), (-8.0, -1.0, True)]
)
def test_what_signals_earn_is_told_or_decides(low: float, high: float, refused: bool) -> None:
    test = scored(OFTEN, OFTEN)
    earned = SignalEarning(212, 60, (low + high) / 2, low, high)
    test = replace(test, decisions=replace(test.decisions, earned=earned))
    told, deciding = earns(test, "tell"), earns(test, "refuse")
    assert told.passed
    assert deciding.passed is not refused
    assert told.verdict == deciding.verdict == str(earned)


def test_a_model_without_a_signal_is_not_shown_to_earn() -> None:
    gate = earns(scored([], []), "refuse")
    assert (gate.passed, gate.value, gate.verdict) == (False, None, "no signal: not shown")
