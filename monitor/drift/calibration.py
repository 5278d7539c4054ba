"""Find the thresholds at which a family of change detectors has a given false alarm rate.

A textbook threshold assumes independent rows, and rows of a market are not independent. So days
of the reference are replayed in random order through the same streams that are watched live (the
block bootstrap of H. R. Kuensch, Annals of Statistics 17, 1989). The thresholds are those that
the replays rarely pass. That takes seconds, so the result is stored with the model.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from monitor.drift.mixing import Mixing, Stream, cross_fitted, learn_mixing, tolerated
from monitor.drift.normal_scores import DAY_MS, Floats, Times
from monitor.drift.reference import (
    Reference,
    block_means,
    checked_rows,
    learn_reference,
    piece_bars,
    piece_blocks,
)
from monitor.errors import BadReference

MONTH_DAYS = 30

_RUNS = 800
_RUN_BLOCKS = 240
_MIN_PIECES = 10
# Live data differ from the reference more than the bootstrap shows: hence the margins.
_MARGIN = 0.75
_THRESHOLD_MARGIN = 1.1
# Share of the false alarms given to the scale of returns, which is the hardest to detect.
_RETURNS_SHARE = 1 / 3
_TIE = 1e-3
# Rarer maxima than this share of the runs are read off an exponential tail.
_TAIL = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """What a drift monitor needs to know about a training window.

    `blocks` is how many blocks it had; `tolerances` and `thresholds` have one number for
    each stream, in standard deviations of the stream, shape (n_streams,).
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
        relations = [Stream(names[i % len(names)], "relation") for i in base]
        returns = [Stream(marginal[i].name, "returns") for i in self.mixing.of[len(base) :]]
        return (*marginal, *relations, *returns)

    def expect(self, names: tuple[str, ...]) -> None:
        """Check that the calibration is for these features.

        Raises:
            BadReference: If it is for others.
        """
        if self.reference.names != names:
            msg = "the calibration is of other features; calibrate the training window again"
            raise BadReference(msg)

    def to_json(self) -> str:
        """Return the calibration as JSON text of some 100 kB."""
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
            BadReference: If the text is something else.
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
                company=np.array(whole["company"], dtype=np.int64),
                longest=np.array(whole["longest"], dtype=np.int64),
            )
            mixing = Mixing(
                base=np.array(mixed["base"], dtype=np.int64),
                of=np.array(mixed["of"], dtype=np.int64),
                **{
                    k: np.array(mixed[k], dtype=np.float64)
                    for k in ("mean", "sd", "weights", "gain")
                },
            )
            limits = (
                np.array(parts[key], dtype=np.float64) for key in ("tolerances", "thresholds")
            )
            return cls(reference, mixing, int(parts["blocks"]), *limits)
        except (
            AttributeError,
            KeyError,
            OverflowError,
            RecursionError,
            TypeError,
            ValueError,
        ) as e:
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
    """Learn the reference and the thresholds; takes seconds, so do not call it in an event loop.

    Args:
        reference: Rows of the training window, shape (n, n_features), oldest first; rows
            with NaN are left out.
        names: Names of the columns.
        bars_per_day: How many bars make a day.
        false_alarms_per_month: Bound for the whole family, per 30 days.
        seed: Seed of the bootstrap.
        reference_t: Open times of the rows in ms UTC, shape (n,). Without them the live rows
            are taken to follow the reference without a gap.

    Raises:
        BadReference: If the reference is too short or has the wrong shape.
    """
    rows, phase_t = checked_rows(reference, names, bars_per_day, reference_t)
    pieces_needed = _MIN_PIECES * piece_bars(bars_per_day)
    if len(rows) < pieces_needed:
        msg = f"the reference has {len(rows)} usable rows, drift needs {pieces_needed} or more"
        raise BadReference(msg)
    learnt = learn_reference(rows, phase_t, names, bars_per_day, aligned=reference_t is not None)
    means = block_means(_blocked(learnt, phase_t, learnt.scores(phase_t, rows)))
    mixing = learn_mixing(means, learnt)
    replayed = _pieces(cross_fitted(mixing, means, learnt), learnt)
    blocks = int(np.isfinite(means).all(axis=1).sum())
    run_blocks = max(MONTH_DAYS * DAY_MS // learnt.block_ms, _RUN_BLOCKS)
    tolerances = tolerated(mixing, learnt, phase_t, rows)
    highest = _replay(replayed, run_blocks, blocks, tolerances, np.random.default_rng(seed))
    months = run_blocks * learnt.block_ms / (MONTH_DAYS * DAY_MS)
    alarms = _shared_out(false_alarms_per_month * _MARGIN * months, mixing)
    # An alarm needs at least two blocks.
    floor = np.maximum(1.0, mixing.clips - tolerances + _TIE)
    thresholds = np.maximum(_THRESHOLD_MARGIN * _thresholds(highest, alarms), floor)
    return Calibration(learnt, mixing, blocks, tolerances, thresholds)


def page_hinkley(values: Floats, anchor: int, tolerance: float) -> tuple[Floats, Floats]:
    """Return the evidence of `AnchoredPageHinkley`, computed for many runs at once.

    Args:
        values: Shape (runs, blocks).
        anchor: Number of zeros before the values.
        tolerance: Change of the mean that is tolerated.

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


def _blocked(learnt: Reference, phase_t: Times, scores: Floats) -> Floats:
    """Lay rows out as (blocks, bars, features), NaN where a bar is missing."""
    block = phase_t // learnt.block_ms
    block -= block[0] - block[0] % (DAY_MS // learnt.block_ms)  # begin at a midnight
    out = np.full((int(block[-1]) + 1, learnt.block_bars, scores.shape[1]), np.nan)
    out[block, (phase_t % learnt.block_ms) // learnt.bar_ms] = scores
    return out


def _shared_out(alarms: float, mixing: Mixing) -> Floats:
    """Return the false alarms that each stream may raise in a run, shape (streams,)."""
    every, returns = 2 * len(mixing.base), len(mixing.of) - len(mixing.base)
    share = _RETURNS_SHARE if returns else 0.0
    return alarms * np.append(np.full(every, (1 - share) / every), np.full(returns, share))


def _pieces(streams: Floats, learnt: Reference) -> Floats:
    """Cut into whole days, shape (pieces, blocks, streams)."""
    length = piece_blocks(learnt)
    count = len(streams) // length
    return streams[: count * length].reshape(count, length, -1)


def _replay(
    pieces: Floats, run_blocks: int, anchor: int, tolerances: Floats, rng: np.random.Generator
) -> Floats:
    """Return the highest evidence of each run and stream, shape (runs, streams)."""
    count, length, width = pieces.shape
    per_run = -(-run_blocks // length)
    order = rng.integers(count, size=(_RUNS, per_run))
    # The mean of the reference is uncertain: the mean of live data may differ by this much.
    again = rng.integers(count, size=(_RUNS, count))
    means = pieces.mean(axis=1)
    beside = means[again].mean(axis=1) - means.mean(axis=0)
    highest = np.empty((_RUNS, width))
    for j in range(width):
        values = pieces[order, :, j].reshape(_RUNS, -1)[:, :run_blocks] + beside[:, j, None]
        rise, fall = page_hinkley(values, anchor, float(tolerances[j]))
        highest[:, j] = np.maximum(rise.max(axis=1), fall.max(axis=1))
    return highest


def _thresholds(highest: Floats, alarms: Floats) -> Floats:
    """Return limits that each stream passes in `alarms` of the runs.

    Args:
        highest: Evidence of each run and stream, shape (runs, streams).
        alarms: Shape (streams,). Below a tenth of the runs, the limit is read off the
            exponential tail of the excesses (peaks over threshold; J. Pickands, Annals of
            Statistics 3, 1975).
    """
    limits = np.empty(len(alarms))
    for j, chance in enumerate(alarms):
        level = min(max(float(chance), _TAIL), 0.5)
        limits[j] = limit = np.quantile(highest[:, j], 1 - level)
        beyond = highest[highest[:, j] > limit, j] - limit
        if len(beyond) and chance < level:
            limits[j] += np.log(level / chance) * beyond.mean()
    return limits
