"""A value gets the normal quantile of its rank in the training window."""

import pickle

import numpy as np
from scipy.special import ndtri

from monitor.drift.normal_scores import DAY_MS, LEVELS, NormalScores

HOURS = np.zeros(7, dtype=np.int64)


def scores_of(grid: np.ndarray) -> NormalScores:
    """Return the scores of values that are standardised already."""
    return NormalScores(np.zeros((1, len(grid))), np.ones((1, len(grid))), grid)


def test_a_value_between_two_quantiles_is_interpolated_as_numpy_does() -> None:
    rng = np.random.default_rng(1)
    grid = np.sort(rng.standard_normal((3, len(LEVELS))))
    rows = 2 * rng.standard_normal((7, 3))
    rows[0], rows[1] = grid[:, 40], (np.inf, -np.inf, np.nan)
    wanted = [np.interp(rows[:, j], grid[j], ndtri(LEVELS)) for j in range(3)]
    np.testing.assert_array_equal(scores_of(grid).of(HOURS, rows), np.column_stack(wanted))


def test_a_value_that_many_rows_share_gets_the_middle_of_its_ranks() -> None:
    grid = np.repeat([0.0, 1.0], [75, len(LEVELS) - 75])[None]
    found = scores_of(grid).of(HOURS[:4], np.array([[0.0], [1.0], [-3.0], [9.0]]))[:, 0]
    quantiles = ndtri(LEVELS)
    middle = [(quantiles[0] + quantiles[74]) / 2, (quantiles[75] + quantiles[-1]) / 2]
    np.testing.assert_array_equal(found, [*middle, quantiles[0], quantiles[-1]])


def test_each_hour_has_its_own_middle_and_spread_also_after_a_restart() -> None:
    grid = np.linspace(-3, 3, len(LEVELS))[None]
    hours = NormalScores(np.arange(24.0)[:, None], np.full((24, 1), 2.0), grid)
    times, rows = np.array([0, DAY_MS - 1, DAY_MS]), np.array([[1.0], [24.0], [1.0]])
    for scores in (hours, pickle.loads(pickle.dumps(hours))):
        found = scores.of(times, rows)[:, 0].tolist()
        assert found[0] == found[1] == found[2] > 0
