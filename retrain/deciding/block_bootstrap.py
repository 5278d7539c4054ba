"""Resample blocks of neighbouring rows, for intervals that respect overlapping labels."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLES: Final = 2000

Means = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class Interval(NamedTuple):
    """A 95 % bootstrap interval."""

    low: float
    high: float


def block_length(n_rows: int, horizon_bars: int) -> int:
    """Return the bootstrap's block: four horizons or sqrt(n), at most a quarter of the rows.

    This is longer than labels overlap, because losses cluster with volatility too.
    """
    return max(1, min(max(4 * horizon_bars, math.isqrt(n_rows)), n_rows // 4))


def resampler(n_rows: int, horizon_bars: int, seed: int = 0) -> Means:
    """Return a function that gives the means of 2000 moving-block resamples, shape (2000,).

    Every call resamples the same blocks, so ratios and differences stay paired
    (Kuensch 1989, The jackknife and the bootstrap for general stationary observations).

    Args:
        n_rows: Rows in time order.
        horizon_bars: Bars that a label spans; neighbouring rows overlap by that much.
        seed: Seed of the blocks.
    """
    length = block_length(n_rows, horizon_bars)
    blocks = -(-n_rows // length)
    random = np.random.default_rng(seed)
    starts = random.integers(0, n_rows - length + 1, size=(_RESAMPLES, blocks))

    def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.concatenate(([0.0], np.cumsum(values)))
        of_block = (sums[length:] - sums[:-length]) / length
        resampled: NDArray[np.float64] = of_block[starts].mean(axis=1)
        return resampled

    return means


def interval(resampled: NDArray[np.float64]) -> Interval:
    """Return the 95 % interval of a resampled figure, shape (n,)."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(low), float(high))
