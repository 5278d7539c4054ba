"""Turn rows of features into normal scores against the training window.

A daily cycle is no drift, and neither is a heavy tail. Each value is centred and scaled by its
hour of the day, then replaced by the normal quantile of its rank in the reference. So all
features have the same unit: standard deviations of the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.drift.normal_scores import DAY_MS, LEVELS, Floats, NormalScores, Times, hour_of
from monitor.errors import BadReference

_HOURS = 24
_PIECE_BLOCKS = 24
_MIN_ROWS_PER_HOUR = 40
_BODY = (0.16, 0.5, 0.84)
_COMPANY = 0.25
# Subtracted from the usual number: two may stay constant by chance, and a feature that moves with
# a single other (a rate that is set and its momentum) must not depend on it alone.
_SLACK = 2


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The statistics of a training window.

    Attributes:
        names: Names of the features.
        bars_per_day: How many bars make a day.
        aligned: Whether hours are UTC; if not they count from the first live bar.
        middle: Median by hour of the day, shape (hours, features).
        spread: Half the central 68 % by hour of the day, shape (hours, features).
        grid: Quantiles of the values so standardised, shape (features, levels).
        company: How many others move on a bar on which a feature should move, shape (features,):
            the number on three of four bars on which it moved, less two.
        longest: Longest stretch that each feature was constant, shape (features,), in bars on
            which it should move or nothing moved.
    """

    names: tuple[str, ...]
    bars_per_day: int
    aligned: bool
    middle: Floats
    spread: Floats
    grid: Floats
    company: Times
    longest: Times

    @property
    def bar_ms(self) -> int:
        """Length of one bar."""
        return DAY_MS // self.bars_per_day

    @property
    def block_bars(self) -> int:
        """Number of bars in a block: an hour of bars, or one if bars are longer."""
        return max(1, self.bars_per_day // _HOURS)

    @property
    def block_ms(self) -> int:
        """Length of one block."""
        return self.bar_ms * self.block_bars

    def scores(self, phase_t: Times, rows: Floats) -> Floats:
        """Return normal scores, shape (n, features), NaN where the row is.

        Args:
            phase_t: ms since some midnight of the reference, shape (n,).
            rows: Features, shape (n, features).
        """
        return self.normal_scores().of(phase_t, rows)

    def normal_scores(self) -> NormalScores:
        """Return what computes the scores, for a caller that does so often."""
        return NormalScores(self.middle, self.spread, self.grid)


def learn_reference(
    rows: Floats, phase_t: Times, names: Sequence[str], bars_per_day: int, *, aligned: bool
) -> Reference:
    """Compute the statistics of a training window.

    Args:
        rows: Finite features, shape (n, features), oldest first.
        phase_t: ms since some midnight, shape (n,).
        names: Names of the features.
        bars_per_day: How many bars make a day.
        aligned: Whether that midnight is UTC's.
    """
    groups = min(_HOURS, bars_per_day)
    if len(rows) < groups * _MIN_ROWS_PER_HOUR:
        groups = 1
    hour = hour_of(phase_t, groups)
    low, middle, high = np.stack(
        [np.quantile(rows[hour == group], _BODY, axis=0) for group in range(groups)], axis=1
    )
    spread = (high - low) / 2
    # If an hour has no spread (a flag, a rate that rarely moves), all hours share one.
    flat = (spread <= 1e-9 * np.abs(middle)).any(axis=0)
    middle[:, flat] = np.median(rows, axis=0)[flat]
    overall = rows.std(axis=0)
    spread[:, flat] = np.where(overall > 0, overall, 1.0)[flat]
    z = (rows - middle[hour]) / spread[hour]
    company, longest = _standstills(rows)
    return Reference(
        names=tuple(names),
        bars_per_day=bars_per_day,
        aligned=aligned,
        middle=middle,
        spread=spread,
        grid=np.quantile(z, LEVELS, axis=0, method="higher").T.copy(),
        company=company,
        longest=longest,
    )


def checked_rows(
    reference: Floats, names: Sequence[str], bars_per_day: int, reference_t: Times | None
) -> tuple[Floats, Times]:
    """Return the finite rows, shape (n, features), and when they opened, shape (n,).

    Times are ms since some midnight UTC.

    Raises:
        BadReference: If shapes, times or bars per day make no sense.
    """
    rows = np.asarray(reference, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(names):  # noqa: PLR2004 - a table
        msg = (
            f"the reference has shape {rows.shape}, needs one column for each of {len(names)} names"
        )
        raise BadReference(msg)
    if bars_per_day < 1 or DAY_MS % bars_per_day:
        msg = f"bars_per_day is {bars_per_day}, must divide a day into whole milliseconds"
        raise BadReference(msg)
    if reference_t is None:
        phase_t = np.arange(-len(rows), 0, dtype=np.int64) * (DAY_MS // bars_per_day)
    else:
        phase_t = np.asarray(reference_t, dtype=np.int64)
        if phase_t.shape != (len(rows),) or (np.diff(phase_t) <= 0).any():
            msg = "reference_t must have one ascending time for each row of the reference"
            raise BadReference(msg)
    finite = np.isfinite(rows).all(axis=1)
    return rows[finite], phase_t[finite]


def block_means(scores: Floats) -> Floats:
    """Return mean score, then mean magnitude, of each block, shape (n_blocks, 2 x features).

    A feature with fewer than half of its bars has NaN.

    Args:
        scores: Shape (n_blocks, bars, features); NaN where there is no value.
    """
    known = np.isfinite(scores)
    count = known.sum(axis=1)
    filled = np.where(known, scores, 0.0)
    divisor = np.where(2 * count >= scores.shape[1], count, np.nan)
    means = (filled.sum(axis=1) / divisor, np.abs(filled).sum(axis=1) / divisor)
    return np.concatenate(means, axis=1)


def piece_bars(bars_per_day: int) -> int:
    """Number of bars in a piece: whole days, at least one, with enough blocks."""
    block_bars = max(1, bars_per_day // _PIECE_BLOCKS)
    days = -(-_PIECE_BLOCKS * block_bars // bars_per_day)
    return days * bars_per_day


def piece_blocks(learnt: Reference) -> int:
    """Number of blocks in a piece: whole days, at least one."""
    return piece_bars(learnt.bars_per_day) // learnt.block_bars


def _standstills(rows: Floats) -> tuple[Times, Times]:
    """Return the fields `company` and `longest` of a reference."""
    moved = np.diff(rows, axis=0) != 0
    together = moved.sum(axis=1)
    company = np.zeros(rows.shape[1], dtype=np.int64)
    longest = np.ones(rows.shape[1], dtype=np.int64)
    for j, column in enumerate(moved.T):
        if column.any():
            beside = np.quantile(together[column] - 1, _COMPANY, method="lower")
            company[j] = max(0, beside - _SLACK)
        waits = np.cumsum(~column & ((together >= company[j]) | (together == 0)))
        # A stretch ends where the feature moves: the count grows by its length between two moves.
        ends = np.concatenate(([0], waits[column], waits[-1:]))
        longest[j] += np.diff(ends).max()
    return company, longest
