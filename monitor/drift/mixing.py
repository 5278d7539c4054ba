"""Turn the block means of all features into the streams that are watched.

Three properties of each feature may change: its level, its scale, and its relation to all the
others. The scale of returns has a stream of its own, because it is the hardest to detect and
matters most.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from monitor.drift.normal_scores import Floats, Times
from monitor.drift.reference import Reference, piece_blocks

# Page-Hinkley's tolerance, in standard deviations of a block: half of what a shift of the
# feature by one standard deviation does to the block, within these bounds.
_TOLERANCES = (0.5, 3.0)
# The same for the scale of returns: the part of what a doubling does, and the bounds.
_RETURNS_PART = 0.7
_RETURNS_TOLERANCES = (0.5, 1.2)
# A block counts as at most this many standard deviations.
_CLIP = 6.0
# The hours of a volatile day are all volatile, so this stream needs a tighter bound.
_RETURNS_CLIP = 2.0
_RIDGE = 0.02
# Doubled returns shift this feature. Its days differ by almost as much, but the features below
# explain most of that.
_VOLATILITY = "rv_1h"
_UNEVENNESS = ("volume_intensity", "price_efficiency", "depth_proxy")
_RETURNS_RIDGE = 0.1
_TWIN = 0.999
_SMALLEST_RESIDUAL = 0.1
_FOLDS = 5


class Stream(NamedTuple):
    """One watched series: the level, scale or relation of one feature, or the scale of returns."""

    name: str
    aspect: str


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """The coefficients that turn block means into watched streams.

    Attributes:
        base: Indices of the watched columns of the block means, shape (base,).
        mean: Means of those columns, shape (base,).
        sd: Standard deviations of those columns, shape (base,).
        of: The base column of each residual, shape (residuals,): every column once, then the
            volatility again, if there is one, for the scale of returns.
        weights: Predict that column from those of other features, shape (residuals, base).
        gain: Factors from residuals to standard deviations, shape (residuals,).
    """

    base: Times
    mean: Floats
    sd: Floats
    of: Times
    weights: Floats
    gain: Floats

    @property
    def clips(self) -> Floats:
        """The most that a block counts, in standard deviations of a stream, shape (n_streams,)."""
        returns = len(self.of) - len(self.base)
        streams = 2 * len(self.base)
        return np.concatenate([np.full(streams, _CLIP), np.full(returns, _RETURNS_CLIP)])

    def standardise(self, means: Floats) -> Floats:
        """Return the watched block means in standard deviations, shape (n, base)."""
        return (means[:, self.base] - self.mean) / self.sd

    def residuals(self, blocks: Floats) -> Floats:
        """Return what the other features do not explain, in standard deviations.

        Args:
            blocks: What `standardise` returned, shape (n, base).

        Returns:
            Shape (n, residuals).
        """
        left: Floats = (blocks[:, self.of] - blocks @ self.weights.T) * self.gain
        return left

    def streams(self, blocks: Floats) -> Floats:
        """Return the blocks and their residuals, clipped, shape (n, base + residuals)."""
        return self.clipped(blocks, self.residuals(blocks))

    def clipped(self, blocks: Floats, residuals: Floats) -> Floats:
        """Return `streams(blocks)` where the residuals are known, shape (n, base + residuals)."""
        clips = self.clips
        both = np.concatenate([blocks, residuals], axis=1)
        streams: Floats = np.minimum(np.maximum(both, -clips), clips)
        return streams


def learn_mixing(means: Floats, learnt: Reference) -> Mixing:
    """Learn the coefficients of the streams.

    Args:
        means: What `block_means` returned, from a midnight on, shape (n_blocks, 2 x features).
        learnt: The reference that they were scored against.
    """
    known = means[np.isfinite(means).all(axis=1)]
    mean, sd = known.mean(axis=0), known.std(axis=0)
    base = _distinct(known, sd)
    blocks = (means[:, base] - mean[base]) / sd[base]
    return Mixing(base, mean[base], sd[base], *_predictors(blocks, base, learnt))


def _predictors(blocks: Floats, base: Times, learnt: Reference) -> tuple[Times, Floats, Floats]:
    """Return the column of each residual, the weights that predict it, and its gain."""
    every = np.arange(len(base))
    known = blocks[np.isfinite(blocks).all(axis=1)]
    weights, gain = _relations(known, base % len(learnt.names))
    found = _returns(blocks, base, learnt)
    if found is None:
        return every, weights, gain
    column, predictor = found
    residual_sd = (known[:, column] - known @ predictor).std()
    return (
        np.append(every, column),
        np.vstack([weights, predictor]),
        np.append(gain, 1 / max(residual_sd, _SMALLEST_RESIDUAL)),
    )


def _returns(blocks: Floats, base: Times, learnt: Reference) -> tuple[int, Floats] | None:
    """Regress the volatility of whole days on how unevenly they were traded (ridge).

    Days, not hours, because differences between days hide a lasting change of volatility.
    """
    names, at = learnt.names, {int(column): i for i, column in enumerate(base)}
    if _VOLATILITY not in names or names.index(_VOLATILITY) not in at:
        return None
    aspects = (names.index(n) + k * len(names) for n in _UNEVENNESS if n in names for k in (0, 1))
    others = [at[column] for column in aspects if column in at]
    column, length = at[names.index(_VOLATILITY)], piece_blocks(learnt)
    days = blocks[: len(blocks) // length * length].reshape(-1, length, len(base)).mean(axis=1)
    days = days[np.isfinite(days).all(axis=1)]
    days -= days.mean(axis=0)
    gram = days[:, others].T @ days[:, others]
    gram += _RETURNS_RIDGE * np.trace(gram) / max(1, len(others)) * np.eye(len(others))
    predictor = np.zeros(len(base))
    predictor[others] = np.linalg.solve(gram, days[:, others].T @ days[:, column])
    return column, predictor


def _distinct(known: Floats, sd: Floats) -> Times:
    """Return the columns that vary and do not repeat an earlier one."""
    kept: list[int] = []
    for j in np.flatnonzero(sd > 1e-6):  # noqa: PLR2004 - rounding noise
        twins = (abs(np.corrcoef(known[:, i], known[:, j])[0, 1]) > _TWIN for i in kept)
        if not any(twins):
            kept.append(int(j))
    return np.array(kept, dtype=np.int64)


def _relations(blocks: Floats, feature: Times) -> tuple[Floats, Floats]:
    """Regress each column on those of the other features (ridge)."""
    n, width = blocks.shape
    weights = np.zeros((width, width))
    gram = blocks.T @ blocks / n
    for j in range(width):
        others = np.flatnonzero(feature != feature[j])
        penalised = gram[np.ix_(others, others)] + _RIDGE * np.eye(len(others))
        weights[j, others] = np.linalg.solve(penalised, gram[others, j])
    residual_sd = (blocks - blocks @ weights.T).std(axis=0)
    return weights, 1 / np.maximum(residual_sd, _SMALLEST_RESIDUAL)


def cross_fitted(mixing: Mixing, means: Floats, learnt: Reference) -> Floats:
    """Return the streams on blocks that their regressions were not fitted to.

    Args:
        mixing: What `learn_mixing` returned.
        means: Block means, shape (n_blocks, 2 x features).
        learnt: The reference that they were scored against.

    Returns:
        Shape (n_blocks, n_streams); 0 where a mean is unknown.
    """
    raw = mixing.standardise(means)
    blocks, width = np.nan_to_num(raw), len(mixing.base)
    streams = mixing.streams(blocks)
    length = piece_blocks(learnt)
    day = np.arange(len(blocks)) // length
    for fold in np.array_split(np.arange(day[-1] + 1), _FOLDS):
        held = np.isin(day, fold)
        of, weights, _ = _predictors(raw[~held], mixing.base, learnt)
        unseen = Mixing(mixing.base, mixing.mean, mixing.sd, of, weights, mixing.gain)
        streams[held, width:] = unseen.streams(blocks[held])[:, width:]
    streams[~np.isfinite(means).all(axis=1)] = 0.0
    return streams


def tolerated(mixing: Mixing, learnt: Reference, phase_t: Times, rows: Floats) -> Floats:
    """Return the change of each stream that is tolerated, shape (n_streams,).

    It is in standard deviations of the stream: half the effect of a shift of the feature by one
    standard deviation; for the scale of returns, most of the effect of a doubling.
    """
    width = len(mixing.base)
    shifts = np.concatenate([1 / mixing.sd, mixing.gain[:width] / mixing.sd])
    tolerances = np.clip(shifts / 2, *_TOLERANCES)
    if len(mixing.of) == width:
        return tolerances
    column, at = learnt.names.index(_VOLATILITY), mixing.of[-1]
    doubled = rows.copy()
    doubled[:, column] *= 2
    moved = learnt.scores(phase_t, doubled)[:, column] - learnt.scores(phase_t, rows)[:, column]
    shift = moved.mean() / mixing.sd[at] * mixing.gain[-1]
    return np.append(tolerances, np.clip(shift * _RETURNS_PART, *_RETURNS_TOLERANCES))
