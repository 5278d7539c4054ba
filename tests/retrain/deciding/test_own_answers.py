"""A model that leans otherwise than the models of its folds still speaks on both sides."""

import numpy as np
import pytest

from retrain.deciding.decision import DOWN, UP, SignalThreshold, decide, signal_threshold
from retrain.deciding.own_answers import moved, wildest

N = 8_000
RATE = 0.005


def answers(seed: int, lean: float, spread: float) -> np.ndarray:
    """Make answers on bars as wild as each other's, that lean so much when the market is wild."""
    wild = 0.05 + 0.3 * np.random.default_rng(0).beta(1, 8, N)
    leans = wild * np.random.default_rng(seed).normal(lean, spread, N)
    return np.column_stack((wild - leans / 2, 1 - 2 * wild, wild + leans / 2))


def shares(p: np.ndarray, signal: SignalThreshold) -> tuple[float, float]:
    decided = decide(p, *signal)
    return float(np.mean(decided == UP)), float(np.mean(decided == DOWN))


@pytest.mark.parametrize("lean", [0.05, 0.15])
def test_both_sides_speak_where_the_model_leans_otherwise_than_its_folds(lean: float) -> None:
    theirs, own = answers(1, 0.1, 0.02), answers(2, lean, 0.01)
    signal = signal_threshold(theirs, RATE, RATE)
    assert min(shares(own, signal)) < RATE / 20
    rows = wildest(theirs)
    assert min(shares(own, moved(signal, theirs[rows], own[rows]))) > RATE / 2


def test_thresholds_stay_where_the_model_answers_as_its_folds_did() -> None:
    theirs = answers(1, 0.1, 0.02)
    rows = wildest(theirs)
    signal = signal_threshold(theirs, RATE, RATE)
    assert moved(signal, theirs[rows], theirs[rows]) == signal


def test_one_wild_quarter_does_not_hide_the_others() -> None:
    p = answers(1, 0.1, 0.02)
    p[: N // 4] = 0.5 * p[: N // 4] + 0.5 * np.array([0.5, 0.0, 0.5])
    rows = wildest(p)
    assert rows.shape == (4, N // 4 // 50)
    assert [set(one // (N // 4)) for one in rows] == [{0}, {1}, {2}, {3}]


@pytest.mark.parametrize("n", [4, 50, 400])
def test_few_rows_are_enough(n: int) -> None:
    p = answers(1, 0.1, 0.02)[:n]
    rows = wildest(p)
    assert rows.shape == (4, min(20, n // 4))
    assert np.isfinite(moved(SignalThreshold(0.2, 0.2), p[rows], p[rows][:, ::-1])).all()
