import numpy as np
import pytest

from retrain.scores import row_log_loss
from retrain.stacking.meta import averaged, fit_meta


def said(n: int, seed: int, *, better: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Make labels and what four models say of them, alike but for noise, the first one better."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet((2, 6, 2), n)
    labels = (rng.random(n)[:, None] > truth.cumsum(axis=1)).sum(axis=1).astype(np.int8)
    noisy = [truth * np.exp(rng.normal(0, 0.3, truth.shape)) for _ in range(4)]
    noisy[0] = noisy[0] ** (1 - better) * (0.02 + 0.94 * np.eye(3)[labels]) ** better
    return np.hstack([p / p.sum(axis=1, keepdims=True) for p in noisy]), labels


@pytest.mark.parametrize("seed", range(3))
def test_few_rows_leave_the_average_as_it_is(seed: int) -> None:
    given, labels = said(300, seed)
    asked, happened = said(2_000, 100 + seed)
    meta = fit_meta(given, labels, purge=1)
    assert np.abs(meta.predict_proba(asked) - averaged(asked)).mean() < 0.01
    losses = [
        row_log_loss(happened, p).mean() for p in (meta.predict_proba(asked), averaged(asked))
    ]
    assert losses[0] <= 1.002 * losses[1]


def test_rows_that_show_surely_who_is_better_move_it_there() -> None:
    given, labels = said(3_000, 0, better=0.5)
    asked, happened = said(2_000, 1, better=0.5)
    answers = fit_meta(given, labels, purge=1).predict_proba(asked), asked[:, :3], averaged(asked)
    ours, best, plain = (row_log_loss(happened, p).mean() for p in answers)
    assert best < 0.8 * plain
    assert ours < 0.5 * (best + plain)


def test_rows_without_an_answer_change_nothing() -> None:
    given, labels = said(400, 0)
    holes = np.insert(given, 200, np.full((5, 12), np.nan), axis=0)
    filled = np.insert(labels, 200, np.zeros(5, np.int8))
    both = fit_meta(given, labels, purge=3), fit_meta(holes, filled, purge=3)
    assert np.array_equal(*(meta.predict_proba(given) for meta in both))
