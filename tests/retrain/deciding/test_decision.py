import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.deciding.decision import DOWN, NEUTRAL, UP, decide, signal_threshold


def volatile(n: int, seed: int) -> np.ndarray:
    """Make probabilities whose sides rise together, as volatility makes them."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.02, 0.4, n)
    lean = rng.normal(0, 0.03, n)
    up = np.clip(size + lean + 0.02, 0.001, 0.49)
    down = np.clip(size - lean, 0.001, 0.49)
    return np.column_stack((down, 1 - up - down, up))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
def test_each_side_speaks_at_the_signal_rate_although_both_rise_together(rate: float) -> None:
    p = volatile(20_000, seed=0)
    decided = decide(p, *signal_threshold(p, rate, rate))
    shares = np.bincount(decided, minlength=3) / len(decided)
    assert shares[UP] == pytest.approx(rate, abs=0.002)
    assert shares[DOWN] == pytest.approx(rate, abs=0.002)


def test_a_side_speaks_from_its_threshold_on() -> None:
    p = np.array([[0.1, 0.7, 0.2], [0.1, 0.701, 0.199], [0.3, 0.6, 0.1], [0.29, 0.61, 0.1]])
    assert decide(p, up=0.2, down=0.3).tolist() == [UP, NEUTRAL, DOWN, NEUTRAL]


def test_the_larger_excess_wins_and_equal_ones_cancel_out() -> None:
    p = np.array([[0.5, 0.0, 0.5], [0.5, 0.25, 0.25], [0.375, 0.25, 0.375]])
    assert decide(p, up=0.125, down=0.25).tolist() == [UP, DOWN, UP]
    assert decide(p[:1], up=0.25, down=0.25).tolist() == [NEUTRAL]


def test_a_constant_model_says_nothing() -> None:
    p = np.tile([0.2, 0.5, 0.3], (100, 1))
    assert set(decide(p, *signal_threshold(p, 0.05, 0.05))) == {NEUTRAL}


@given(st.integers(1, 400), st.integers(0, 1000), st.floats(0.01, 0.4))
def test_no_side_speaks_more_often_than_asked(n: int, seed: int, rate: float) -> None:
    p = np.random.default_rng(seed).dirichlet((1, 3, 1), n)
    decided = decide(p, *signal_threshold(p, rate, rate))
    assert max(np.sum(decided == UP), np.sum(decided == DOWN)) <= rate * n + 1
