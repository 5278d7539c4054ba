"""Find the thresholds at which a family of change detectors keeps its promise.

A textbook threshold assumes independent rows; rows of a market are anything but. Here
the thresholds are those at which the very streams that are watched live would have
stayed quiet, replayed as days of the reference in random order (the block bootstrap of
H. R. Kuensch, Annals of Statistics 17, 1989). That takes seconds, so the outcome is a
small value that is stored with the model.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np

from monitor.errors import BadReference
from monitor.reference import (
    DAY_MS,
    Floats,
    Reference,
    Times,
    block_means,
    checked_rows,
    learn_reference,
)

MONTH_DAYS = 30
# Page-Hinkley's tolerance, in standard deviations of a block: a third of what a shift of the
# feature by one standard deviation does to the block, within these bounds.
_TOLERANCES = (0.5, 1.0)

# A block counts as at most this many standard deviations: no single one raises an alarm.
_CLIP = 4.0
_RIDGE = 0.02
_TWIN = 0.999
_SMALLEST_RESIDUAL = 0.1
_FOLDS = 5
_RUNS = 400
_RUN_BLOCKS = 240
_PIECE_BLOCKS = 24
_MIN_PIECES = 10
# The bootstrap knows nothing but the reference; the margin pays for the rest.
_MARGIN = 0.8
# Standard errors added to each long-run variance: it is an estimate from few days.
_CAUTION = 1.5


class Stream(NamedTuple):
    """One watched series: the level, scale or relation of one feature."""

    name: str
    aspect: str


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """How block means become watched streams.

    Attributes:
        base: Which columns of the block means are watched, shape (base,).
        mean: Of those columns, shape (base,).
        sd: Of those columns, shape (base,).
        weights: Each column predicted from those of other features, shape (base, base).
        gain: Turns residuals of that into standard deviations, shape (base,).
    """

    base: Times
    mean: Floats
    sd: Floats
    weights: Floats
    gain: Floats

    def standardise(self, means: Floats) -> Floats:
        """Return the watched block means in standard deviations, shape (n, base)."""
        return (means[:, self.base] - self.mean) / self.sd

    def residuals(self, blocks: Floats) -> Floats:
        """Return what the other features do not explain, in standard deviations, (n, base)."""
        left: Floats = (blocks - blocks @ self.weights.T) * self.gain
        return left

    def streams(self, blocks: Floats) -> Floats:
        """Return the blocks and their residuals, clipped, shape (n, 2 x base)."""
        return np.clip(np.hstack([blocks, self.residuals(blocks)]), -_CLIP, _CLIP)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a drift monitor needs to know of a training window.

    `blocks` is how many blocks it had; `tolerances` and `thresholds` have one number for
    each stream, in standard deviations of the stream.
    """

    reference: Reference
    mixing: Mixing
    blocks: int
    tolerances: Floats
    thresholds: Floats

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The watched streams, in the order of `thresholds`."""
        names, base = self.reference.names, self.mixing.base
        marginal = [
            Stream(names[i % len(names)], ("level", "scale")[i // len(names)]) for i in base
        ]
        return (*marginal, *(Stream(names[i % len(names)], "relation") for i in base))

    def expect(self, names: tuple[str, ...]) -> None:
        """Check that it was made for these features.

        Raises:
            BadReference: If it was made for others.
        """
        if self.reference.names != names:
            msg = "the calibration is of other features; calibrate the training window again"
            raise BadReference(msg)

    def to_json(self) -> str:
        """Return it as JSON text, some 100 kB."""
        parts = {
            "reference": _plain(self.reference),
            "mixing": _plain(self.mixing),
            "blocks": self.blocks,
            "tolerances": self.tolerances.tolist(),
            "thresholds": self.thresholds.tolist(),
        }
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            BadReference: If it is something else.
        """
        try:
            parts = json.loads(text)
            whole, mixed = parts["reference"], parts["mixing"]
            reference = Reference(
                names=tuple(whole["names"]),
                bars_per_day=int(whole["bars_per_day"]),
                aligned=bool(whole["aligned"]),
                middle=np.array(whole["middle"], dtype=np.float64),
                spread=np.array(whole["spread"], dtype=np.float64),
                grid=np.array(whole["grid"], dtype=np.float64),
                longest=np.array(whole["longest"], dtype=np.int64),
            )
            base = np.array(mixed.pop("base"), dtype=np.int64)
            floats = {name: np.array(value, dtype=np.float64) for name, value in mixed.items()}
            limits = (
                np.array(parts[key], dtype=np.float64) for key in ("tolerances", "thresholds")
            )
            return cls(reference, Mixing(base=base, **floats), int(parts["blocks"]), *limits)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            msg = f"this is no drift calibration ({e!r}); calibrate the training window again"
            raise BadReference(msg) from e


def calibrate(
    reference: Floats,
    names: Sequence[str],
    bars_per_day: int,
    false_alarms_per_month: float = 1.0,
    seed: int = 0,
    *,
    reference_t: Times | None = None,
) -> Calibration:
    """Learn the reference and the thresholds; takes seconds, so keep it off an event loop.

    Args:
        reference: Rows of the training window, shape (n, n_features), oldest first; rows
            with NaN are left out.
        names: Names of the columns.
        bars_per_day: How many bars make a day.
        false_alarms_per_month: Bound for the whole family, per 30 days.
        seed: Of the bootstrap.
        reference_t: Open times of the rows in ms UTC, shape (n,). Without them the live rows
            are taken to follow the reference without a gap.

    Raises:
        BadReference: If the reference is too short or has the wrong shape.
    """
    rows, phase_t = checked_rows(reference, names, bars_per_day, reference_t)
    pieces_needed = _MIN_PIECES * _piece_bars(bars_per_day)
    if len(rows) < pieces_needed:
        msg = f"the reference has {len(rows)} usable rows, drift needs {pieces_needed} or more"
        raise BadReference(msg)
    learnt = learn_reference(rows, phase_t, names, bars_per_day, aligned=reference_t is not None)
    means = block_means(_blocked(learnt, phase_t, learnt.scores(phase_t, rows)))
    mixing = _mix(means, len(names))
    replayed = _pieces(_cross_fitted(mixing, means, len(names)), learnt)
    quiet = false_alarms_per_month * _MARGIN
    blocks = int(np.isfinite(means).all(axis=1).sum())
    run_blocks = max(MONTH_DAYS * DAY_MS // learnt.block_ms, _RUN_BLOCKS)
    tolerances = np.clip(np.tile(1 / mixing.sd, 2) / 3, *_TOLERANCES)
    tolerances[len(mixing.base) :] = np.clip(mixing.gain / mixing.sd / 3, *_TOLERANCES)
    highest = _replay(replayed, run_blocks, blocks, tolerances, np.random.default_rng(seed))
    months = run_blocks * learnt.block_ms / (MONTH_DAYS * DAY_MS)
    variance = _long_run_variance(replayed)
    # A mean that is only known so well makes a shift of the live data out of nothing.
    surely = tolerances - np.minimum(np.sqrt(variance / blocks), tolerances / 2)
    thresholds = _thresholds(highest, variance / (2 * surely), quiet * months)
    return Calibration(learnt, mixing, blocks, tolerances, thresholds)


def page_hinkley(values: Floats, anchor: int, tolerance: float) -> tuple[Floats, Floats]:
    """Return the evidence that `monitor.hinkley.Hinkley` would hold, for many runs at once.

    Args:
        values: Shape (runs, blocks).
        anchor: How many zeros came first.
        tolerance: Change of the mean that is none.

    Returns:
        For a rise and for a fall, shape (runs, blocks) each.
    """
    seen = anchor + np.arange(1, values.shape[1] + 1)
    deviation = values - np.cumsum(values, axis=1) / seen
    up = np.cumsum(deviation - tolerance, axis=1)
    down = np.cumsum(deviation + tolerance, axis=1)
    rise = up - np.minimum(np.minimum.accumulate(up, axis=1), 0.0)
    fall = np.maximum(np.maximum.accumulate(down, axis=1), 0.0) - down
    return rise, fall


def _plain(part: Reference | Mixing) -> dict[str, object]:
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}


def _piece_bars(bars_per_day: int) -> int:
    """A day of bars, or as many whole days as make enough blocks."""
    block_bars = max(1, bars_per_day // _PIECE_BLOCKS)
    days = -(-_PIECE_BLOCKS * block_bars // bars_per_day)
    return days * bars_per_day


def _blocked(learnt: Reference, phase_t: Times, scores: Floats) -> Floats:
    """Lay rows out as (blocks, bars, features), NaN where a bar is missing."""
    block = phase_t // learnt.block_ms
    block -= block[0] - block[0] % (DAY_MS // learnt.block_ms)  # begin at a midnight
    out = np.full((int(block[-1]) + 1, learnt.block_bars, scores.shape[1]), np.nan)
    out[block, (phase_t % learnt.block_ms) // learnt.bar_ms] = scores
    return out


def _mix(means: Floats, n_features: int) -> Mixing:
    known = means[np.isfinite(means).all(axis=1)]
    mean, sd = known.mean(axis=0), known.std(axis=0)
    base = _distinct(known, sd)
    blocks = (known[:, base] - mean[base]) / sd[base]
    weights, gain = _relations(blocks, base % n_features)
    return Mixing(base, mean[base], sd[base], weights, gain)


def _distinct(known: Floats, sd: Floats) -> Times:
    """Return the columns that move, and are not the same as an earlier one."""
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


def _cross_fitted(mixing: Mixing, means: Floats, n_features: int) -> Floats:
    """Return the streams as they look on blocks that the regression never saw."""
    blocks = np.nan_to_num(mixing.standardise(means))
    width = len(mixing.base)
    streams = mixing.streams(blocks)
    for fold in np.array_split(np.arange(len(blocks)), _FOLDS):
        rest = np.delete(blocks, fold, axis=0)
        weights, _ = _relations(rest, mixing.base % n_features)
        unseen = Mixing(mixing.base, mixing.mean, mixing.sd, weights, mixing.gain)
        streams[fold, width:] = unseen.streams(blocks[fold])[:, width:]
    streams[~np.isfinite(means).all(axis=1)] = 0.0
    return streams


def _pieces(streams: Floats, learnt: Reference) -> Floats:
    """Cut into whole days, shape (pieces, blocks, streams)."""
    length = _piece_bars(learnt.bars_per_day) // learnt.block_bars
    count = len(streams) // length
    return streams[: count * length].reshape(count, length, -1)


def _replay(
    pieces: Floats, run_blocks: int, anchor: int, tolerances: Floats, rng: np.random.Generator
) -> Floats:
    """Return the highest evidence of each run and stream, shape (runs, streams)."""
    count, length, width = pieces.shape
    per_run = -(-run_blocks // length)
    order = rng.integers(count, size=(_RUNS, per_run))
    # The reference's own mean is uncertain: live data may sit that much beside it.
    again = rng.integers(count, size=(_RUNS, count))
    means = pieces.mean(axis=1)
    beside = means[again].mean(axis=1) - means.mean(axis=0)
    highest = np.empty((_RUNS, width))
    for j in range(width):
        values = pieces[order, :, j].reshape(_RUNS, -1)[:, :run_blocks] + beside[:, j, None]
        rise, fall = page_hinkley(values, anchor, float(tolerances[j]))
        highest[:, j] = np.maximum(rise.max(axis=1), fall.max(axis=1))
    return highest


def _thresholds(highest: Floats, decay: Floats, alarms: float) -> Floats:
    """Return limits that each stream passes equally rarely, `alarms` in all per run.

    Replayed days hold no excursion that the reference did not have, so they give the middle of
    the distribution of a run's maximum. Its tail is exponential, with a decay of long-run
    variance / 2 x tolerance (D. Siegmund, "Sequential Analysis", 1985), or slower if they say so.
    """
    middle = np.median(highest, axis=0)
    excess = 2 * np.maximum(highest - middle, 0.0).mean(axis=0)
    rarity = np.log(max(1.0, highest.shape[1] / (2 * alarms)))
    limits: Floats = np.maximum(middle + rarity * np.maximum(excess, decay), 1.0)
    return limits


def _long_run_variance(pieces: Floats) -> Floats:
    """Return what the sum of many blocks varies by, per block, shape (streams,).

    From sums over one, two and four pieces, on the cautious side; the largest counts, for
    serial correlation makes the shorter ones too small.
    """
    found = []
    for size in (1, 2, 4):
        count = len(pieces) // size
        batches = pieces[: count * size].reshape(count, -1, pieces.shape[2])
        per_block = batches.sum(axis=1).var(axis=0, ddof=1) / batches.shape[1]
        found.append(per_block * (1 + _CAUTION * np.sqrt(2 / count)))
    variance: Floats = np.max(found, axis=0)
    return variance
