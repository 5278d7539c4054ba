"""Replace values by the normal quantiles of their ranks in a training window.

A monitor scores an hour of bars at a time, and a start replays weeks of them. So what does not
change from one hour to the next is computed once.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

DAY_MS = 86_400_000
# Probabilities of the stored quantiles; beyond the outermost a value counts as these.
LEVELS = np.concatenate(([0.001, 0.0025, 0.005], np.arange(1, 100) / 100, [0.995, 0.9975, 0.999]))
_NORMAL: Floats = ndtri(LEVELS)
_HUGE = 1e300


class NormalScores:
    """The normal scores of features against the statistics of a training window.

    Args:
        middle: Median by hour of the day, shape (hours, features).
        spread: Half the central 68 % by hour of the day, shape (hours, features).
        grid: Quantiles at `LEVELS` of the values so standardised, shape (features, levels).
    """

    def __init__(self, middle: Floats, spread: Floats, grid: Floats) -> None:
        self._made_of = middle, spread, grid
        self._columns = list(grid)
        features, levels = grid.shape
        step = np.diff(grid)
        rises = step > 0
        # Of the interval below each level and of the one above the last; no slope outside the grid.
        slopes = np.divide(np.diff(_NORMAL), step, out=np.zeros_like(step), where=rises)
        self._slopes = np.pad(slopes, ((0, 0), (1, 1))).ravel()
        self._below = np.hstack([grid[:, :1], grid]).ravel()
        self._at = np.hstack([grid, np.full((features, 1), np.nan)]).ravel()
        self._base = np.append(_NORMAL[0], _NORMAL)
        # A value that many rows share gets the middle of its ranks.
        last = np.array([column.searchsorted(column, "right") - 1 for column in grid])
        self._shared = np.pad((_NORMAL + _NORMAL[last]) / 2, ((0, 0), (0, 1))).ravel()
        self._offsets = (levels + 1) * np.arange(features)[:, None]

    def __reduce__(self) -> tuple[type["NormalScores"], tuple[Floats, Floats, Floats]]:
        """Return what it is made of, which is far smaller."""
        return NormalScores, self._made_of

    def of(self, phase_t: Times, rows: Floats) -> Floats:
        """Return the scores, shape (n, features), NaN where the row is.

        Args:
            phase_t: ms since some midnight of the training window, shape (n,).
            rows: Features, shape (n, features).
        """
        middle, spread, _ = self._made_of
        hour = hour_of(phase_t, len(middle))
        with np.errstate(over="ignore"):  # a huge value counts as the largest one
            z = (rows - middle.take(hour, axis=0)) / spread.take(hour, axis=0)
        z = np.ascontiguousarray(np.minimum(np.maximum(z, -_HUGE), _HUGE).T)
        found = [grid.searchsorted(column) for grid, column in zip(self._columns, z, strict=True)]
        level = np.concatenate(found).reshape(z.shape)
        place = level + self._offsets
        beyond = z - self._below.take(place)
        between = self._slopes.take(place) * beyond + self._base.take(level)
        scores = np.where(self._at.take(place) == z, self._shared.take(place), between)
        return np.ascontiguousarray(scores.T)


def hour_of(phase_t: Times, groups: int) -> Times:
    """Return the part of the day, of so many, that each time is in, shape (n,)."""
    return (phase_t % DAY_MS) // (DAY_MS // groups)
