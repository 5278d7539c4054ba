"""Resample blocks of neighbouring rows, for intervals that respect overlapping labels."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

_RESAMPLES: Final = 2000


class Interval(NamedTuple):
    """A 95 % bootstrap interval."""

    low: float
    high: float


def block_length(n_rows: int, horizon_bars: int) -> int:
    """Return the bootstrap's block: four horizons or sqrt(n), at most a quarter of the rows.

    This is longer than labels overlap, because losses cluster with volatility too.
    """
    return max(1, min(max(4 * horizon_bars, math.isqrt(n_rows)), n_rows // 4))


@dataclass(frozen=True, slots=True)
class Resampler:
    """Gives the mean of every resample, of the same rows every time.

    `starts` are the first rows of the blocks of each, shape (2000, blocks); `length` is theirs.
    """

    starts: NDArray[np.int64]
    length: int

    @property
    def blocks(self) -> int:
        """How many blocks make a resample."""
        return int(self.starts.shape[1])

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the means of the resamples of some rows, shape (n,), shape (2000,)."""
        sums = np.concatenate(([0.0], np.cumsum(values)))
        of_block = (sums[self.length :] - sums[: -self.length]) / self.length
        resampled: NDArray[np.float64] = of_block[self.starts].mean(axis=1)
        return resampled


def resampler(n_rows: int, horizon_bars: int, seed: int = 0) -> Resampler:
    """Return what gives the means of 2000 moving-block resamples.

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
    return Resampler(random.integers(0, n_rows - length + 1, size=(_RESAMPLES, blocks)), length)


def interval(resampled: NDArray[np.float64], blocks: int) -> Interval:
    """Return the 95 % interval of a resampled figure.

    Few blocks are too much alike in all resamples, so quantiles further out are taken: those of
    the expanded percentile interval (Hesterberg 2015, What teachers should know about the
    bootstrap), with blocks in place of rows. It goes as far as Student's t does with one degree of
    freedom less than blocks, and never beyond what a figure can be.

    Args:
        resampled: Shape (n,).
        blocks: How many were drawn for each.
    """
    blocks = max(2, blocks)
    far = math.sqrt(blocks / (blocks - 1)) * float(stdtrit(blocks - 1, 0.975))
    low, high = np.quantile(resampled, (ndtr(-far), ndtr(far)))
    return Interval(float(low), float(high))
