import json
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics

from retrain.deciding.block_bootstrap import block_length
from retrain.scores import (
    Scores,
    calibration_error,
    paired_difference,
    row_log_loss,
    score,
    share_shift,
)

PRIOR = np.array([0.2, 0.6, 0.2])


def sample(n: int = 3_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make probabilities that come true, labels drawn from them, and returns to match."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet((1, 3, 1), n)
    labels = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).astype(np.int8)
    future = (labels - 1) * 0.01 + rng.normal(0, 0.002, n)
    return labels, p, future


def scored(labels: np.ndarray, p: np.ndarray, future: np.ndarray, **changes: Any) -> Scores:
    settings: dict[str, Any] = {"prior": PRIOR, "up": 0.4, "down": 0.4, "horizon_bars": 12}
    return score(labels, p, future, **(settings | changes))


def test_the_usual_scores_agree_with_scikit_learn() -> None:
    labels, p, future = sample()
    ours = scored(labels, p, future)
    guess = p.argmax(axis=1)
    assert ours.log_loss == pytest.approx(metrics.log_loss(labels, p))
    assert ours.argmax.accuracy == pytest.approx(metrics.accuracy_score(labels, guess))
    assert ours.argmax.mcc == pytest.approx(metrics.matthews_corrcoef(labels, guess))
    balanced = metrics.balanced_accuracy_score(labels, guess)
    assert ours.argmax.balanced_accuracy == pytest.approx(balanced)
    assert ours.argmax.confusion == tuple(map(tuple, metrics.confusion_matrix(labels, guess)))
    brier = sum(metrics.brier_score_loss(labels == c, p[:, c]) for c in range(3))
    assert ours.brier == pytest.approx(brier)
    assert ours.ic == pytest.approx(np.corrcoef(p[:, 2] - p[:, 0], future)[0, 1])


def test_the_prior_itself_has_no_skill() -> None:
    labels, _, future = sample()
    ours = scored(labels, np.tile(PRIOR, (len(labels), 1)), future)
    assert ours.skill == pytest.approx(0)
    assert ours.skill_interval == pytest.approx((0, 0))
    assert ours.ic == 0


def test_signals_are_paid_by_what_follows_less_the_fee() -> None:
    p = np.array([[0.1, 0.2, 0.7], [0.1, 0.2, 0.7], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    future = np.array([0.02, -0.01, -0.03, 0.5])
    ours = scored(np.array([2, 0, 0, 2], np.int8), p, future, fee_bps=10)
    assert ours.decisions.win_rate == pytest.approx(2 / 3)
    assert ours.decisions.expectancy == pytest.approx((0.02 - 0.01 + 0.03) / 3 - 0.001)
    assert (ours.decisions.up_signals, ours.decisions.down_signals) == (2, 1)


def test_calibration_is_told_from_overconfidence() -> None:
    labels, p, future = sample(6_000)
    sharpened = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert max(scored(labels, p, future).ece) < 0.03
    assert max(scored(labels, sharpened, future).ece) > 0.05


def test_the_interval_of_overlapping_labels_is_wider_than_that_of_independent_ones() -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(size=5_000)
    overlapping = np.convolve(steps, np.ones(12) / np.sqrt(12), mode="valid")
    zero = np.zeros(len(overlapping))
    _, wide = paired_difference(overlapping, zero, 12)
    _, narrow = paired_difference(rng.permutation(overlapping), zero, 12)
    assert wide.high - wide.low > 2.5 * (narrow.high - narrow.low)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(100):
        steps = np.random.default_rng(seed).normal(size=2_011)
        overlapping = np.convolve(steps, np.ones(12) / 12, mode="valid")
        _, (low, high) = paired_difference(overlapping, np.zeros(2_000), 12, seed)
        hits += low <= 0 <= high
    assert 86 <= hits <= 100


@pytest.mark.parametrize(("n", "horizon", "least"), [(80, 1, 0.93), (200, 4, 0.91), (739, 6, 0.93)])
def test_of_few_blocks_the_interval_holds_the_truth_as_often(
    n: int, horizon: int, least: float
) -> None:
    zero, held = np.zeros(n), 0
    for seed in range(400):
        steps = np.random.default_rng(seed).normal(size=n + horizon - 1)
        _, (low, high) = paired_difference(
            np.convolve(steps, np.ones(horizon), "valid"), zero, horizon
        )
        held += low <= 0 <= high
    assert least <= held / 400 <= 0.97  # with the plain quantiles 0.90, 0.88 and 0.91


def test_the_better_model_has_the_lower_loss_surely() -> None:
    labels, p, _ = sample()
    worse = 0.5 * p + 0.5 / 3
    mean, (_, high) = paired_difference(row_log_loss(labels, p), row_log_loss(labels, worse), 12)
    assert mean < high < 0


def test_blocks_are_longer_than_the_labels_overlap() -> None:
    assert block_length(10_000, 12) == 100
    assert block_length(10_000, 48) == 192
    assert block_length(100, 48) == 25


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, p, future = sample(500)
    assert scored(labels, p, future, seed=3) == scored(labels, p, future, seed=3)


def test_scores_become_plain_json_without_nan() -> None:
    labels, p, future = sample(200)
    silent = scored(labels, p, future, up=1.1, down=1.1)
    plain = json.loads(json.dumps(silent.as_dict(), allow_nan=False))
    assert plain["decisions"]["win_rate"] is None
    assert plain["rows"] == 200


def overlapping(n: int, horizon: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make what happened, alike on neighbouring rows as labels are, and its true probability."""
    rng = np.random.default_rng(seed)
    moved = np.convolve(rng.normal(size=n + horizon), np.ones(horizon), "valid")[:n]
    given = 1 / 3 + 0.1 * np.sin(np.arange(n) / 50 + seed)
    return (moved > norm.isf(given) * np.sqrt(horizon)).astype(float), given


@pytest.mark.parametrize(("n", "horizon", "seen"), [(300, 1, 0.4), (1_500, 4, 0.6), (7_700, 12, 1)])
def test_an_error_of_calibration_is_told_where_it_is_surely_more_than_chance(
    n: int, horizon: int, seen: float
) -> None:
    drawn = [overlapping(n, horizon, seed) for seed in range(60)]
    honest, off, far_off = (
        np.array([calibration_error(y, p + gap, horizon) for y, p in drawn])
        for gap in (0.0, 0.1, 0.25)
    )
    assert np.mean(honest > 0) <= 0.05
    assert np.mean(off > 0) >= seen
    assert off[off > 0].mean() == pytest.approx(0.11, abs=0.02)
    assert far_off.min() > 0.15


def test_an_error_of_calibration_is_never_more_than_the_expected_one() -> None:
    labels, p, future = sample(6_000, seed=3)
    off = p**2 / (p**2).sum(axis=1, keepdims=True)  # off by much in some bins, by little in others
    found = scored(labels, off, future)
    assert all(0 < beyond <= ece for beyond, ece in zip(found.calibration, found.ece, strict=True))


def test_a_refit_may_move_towards_what_happened_and_nowhere_else() -> None:
    before, happened = np.tile([0.3, 0.4, 0.3], (10, 1)), np.array([0.2, 0.6, 0.2])
    towards, away = np.tile([0.22, 0.56, 0.22], (10, 1)), np.tile([0.36, 0.28, 0.36], (10, 1))
    assert share_shift(before, towards, happened) == 0
    assert share_shift(before, away, happened) == pytest.approx(0.12)
    assert share_shift(before, np.tile([0.1, 0.8, 0.1], (10, 1)), happened) == pytest.approx(0.2)
