"""Detect that the live features left the distribution that a model learnt.

On raw rows, river's detectors report only that volatility clusters and that days have a cycle.
So every row is first turned into normal scores against the reference, by hour of the day. The
scores are averaged over an hour, which reduces their serial correlation. The thresholds of
river's Page-Hinkley tests are those at which the whole family rarely raises an alarm on days of
the reference in random order (`monitor.drift.calibration`). A change of a feature's level, of its
scale, or of its relation to the others raises one alarm until the monitor is replaced.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from monitor.drift.calibration import Calibration, calibrate
from monitor.drift.feed_health import FeedFault, FeedHealth, utc
from monitor.drift.normal_scores import Floats, Times
from monitor.drift.reference import block_means
from monitor.drift.stream_tests import StreamTests
from monitor.errors import BadObservation

__all__ = ["Calibration", "DriftDetected", "DriftMonitor", "FeedFault", "calibrate"]

_WORDS = {"relation": "its relation to the other features", "returns": "the scale of returns"}
# A relation is tainted by a drifted feature that shifts its residual by this many sd per sd.
_MATERIAL = 0.2
# Blocks that are used to find the cause of a broken relation.
_RECENT_BLOCKS = 24


@dataclass(frozen=True, slots=True)
class DriftDetected:
    """A feature changed.

    Attributes:
        name: The feature.
        t: Open time of the bar that raised the alarm, ms UTC.
        score: Evidence divided by its threshold, 1 or more.
        direction: up or down.
        since_t: When the change probably began, ms UTC.
        size: Mean change since then, in standard deviations of the reference.
        aspect: What changed: level, scale, relation (to the other features), or returns (how far
            they swing, as the volatility shows it).
    """

    name: str
    t: int
    score: float
    direction: str
    since_t: int
    size: float
    aspect: str

    def __str__(self) -> str:
        what = _WORDS.get(self.aspect, self.aspect)
        return (
            f"{self.name}: {what} went {self.direction} by {abs(self.size):.2f} sd since "
            f"{utc(self.since_t)}, evidence {self.score:.2f} x the alarm threshold"
        )

    def fields(self) -> dict[str, object]:
        """Return the figures for an event."""
        return asdict(self)


class DriftMonitor:
    """Watches every feature of one model.

    Args:
        reference: Rows of the training window, shape (n, n_features), oldest first.
        names: Names of the columns.
        bars_per_day: How many bars make a day.
        false_alarms_per_month: Bound for the whole family, per 30 days.
        seed: Seed of the bootstrap.
        reference_t: Open times of the reference rows in ms UTC, shape (n,). Without them the
            first update is taken to follow the reference without a gap.

    Raises:
        BadReference: If the reference is too short or has the wrong shape.
    """

    def __init__(
        self,
        reference: Floats,
        names: Sequence[str],
        bars_per_day: int,
        false_alarms_per_month: float = 1.0,
        seed: int = 0,
        *,
        reference_t: Times | None = None,
    ) -> None:
        self._begin(
            calibrate(
                reference,
                names,
                bars_per_day,
                false_alarms_per_month,
                seed,
                reference_t=reference_t,
            )
        )

    @classmethod
    def from_calibration(cls, calibration: Calibration) -> "DriftMonitor":
        """Return a monitor for a calibration; this takes milliseconds.

        Args:
            calibration: What `calibrate` returned for the model's training window.
        """
        monitor = cls.__new__(cls)
        monitor._begin(calibration)  # noqa: SLF001 - its own class
        return monitor

    def _begin(self, made: Calibration) -> None:
        self._made, self._streams = made, made.streams
        # How far each residual goes, in sd, when a regressor moves by one.
        self._pull = np.abs(made.mixing.weights) * made.mixing.gain[:, None]
        self._tests = StreamTests(made.thresholds, made.tolerances, made.blocks)
        self._muted = np.zeros(len(self._streams), dtype=bool)
        reference = made.reference
        self._scores, self._width = reference.normal_scores(), len(reference.names)
        self._bar_ms, self._block_ms = reference.bar_ms, reference.block_ms
        self._bar_ts = reference.bar_ms * np.arange(reference.block_bars)
        self._origin_t = 0 if made.reference.aligned else None
        self._block_t, self._last_t = 0, -1
        self._block: dict[int, Floats] = {}
        self._recent: deque[tuple[int, Floats]] = deque(maxlen=_RECENT_BLOCKS)
        self._alarms: dict[str, DriftDetected] = {}
        self._health = FeedHealth(made.reference)
        self._faults: tuple[FeedFault, ...] = ()

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features that raised an alarm, first one first."""
        return tuple(self._alarms)

    def scores(self) -> dict[str, float]:
        """Return the strongest evidence of each feature over its threshold; 1.0 is an alarm."""
        scores = dict.fromkeys(self._made.reference.names, 0.0)
        strongest = np.where(self._muted, 0.0, self._tests.evidence.max(axis=0)).tolist()
        for stream, evidence in zip(self._streams, strongest, strict=True):
            scores[stream.name] = max(scores[stream.name], evidence)
        return scores | {name: alarm.score for name, alarm in self._alarms.items()}

    def faults(self) -> tuple[FeedFault, ...]:
        """Return the feed faults that began with the last update."""
        return self._faults

    def update(
        self, t: int, row: Sequence[float] | Floats, *, flat: bool = False
    ) -> tuple[DriftDetected, ...]:
        """Take one closed bar; return the drifts that it showed.

        Args:
            t: Open time of the bar, ms UTC.
            row: Its features, shape (n_features,); NaN is a fault of the feed, not drift.
            flat: Whether the price has been constant so long that no feature needs to change.

        Raises:
            BadObservation: If time does not move on or the row has another length.
        """
        values = np.array(row, dtype=np.float64)
        if values.shape != (self._width,):
            raise BadObservation("row", values.shape, f"{self._width} numbers")
        if t <= self._last_t:
            raise BadObservation("t", t, f"later than {self._last_t}")
        self._last_t = t
        if self._origin_t is None:
            self._origin_t = t
        self._faults = self._health.check(t, values, flat=flat)
        found: tuple[DriftDetected, ...] = ()
        place, since_ms = divmod(t - self._origin_t, self._block_ms)
        block_t, bar = place * self._block_ms, since_ms // self._bar_ms
        if block_t != self._block_t:
            found = self._close(t)
            self._block_t = block_t
        self._block[bar] = values
        if bar == len(self._bar_ts) - 1:
            found += self._close(t)
        return found

    def _close(self, t: int) -> tuple[DriftDetected, ...]:
        """Evaluate the block that ended; one with too few bars is ignored."""
        bars, self._block = self._block, {}
        if 2 * len(bars) < len(self._bar_ts) or not bars:
            return ()
        rows = np.full((len(self._bar_ts), self._width), np.nan)
        rows[list(bars)] = list(bars.values())
        scores = self._scores.of(self._block_t + self._bar_ts, rows)
        mixing = self._made.mixing
        blocks = mixing.standardise(block_means(scores[None]))
        missing, fed = np.isnan(blocks[0]), ~self._muted
        torn = missing[mixing.of]
        if missing.any():
            torn |= (self._pull[:, missing] >= _MATERIAL).any(axis=1)
            fed &= ~np.concatenate([missing, torn])
            blocks = np.nan_to_num(blocks)
        residuals = mixing.residuals(blocks)
        self._recent.append((self._block_t, np.where(torn, 0.0, residuals[0])[: len(missing)]))
        began = self._block_t + (self._origin_t or 0)
        self._tests.feed(began, mixing.clipped(blocks, residuals)[0], fed)
        return self._alarmed(t)

    def _alarmed(self, t: int) -> tuple[DriftDetected, ...]:
        fired = [
            (i, DriftDetected(self._streams[i].name, t, *self._tests.change(i), aspect))
            for i in np.flatnonzero(self._tests.fired & ~self._muted).tolist()
            for aspect in [self._streams[i].aspect]
        ]
        found: list[DriftDetected] = []
        for i, alarm in sorted(fired, key=lambda pair: -pair[1].score):
            if self._muted[i]:
                continue  # a stronger alarm of the same block explains it
            traced = self._traced(alarm)
            self._muted[i] = True
            self._mute(traced.name)
            if traced.name not in self._alarms:
                self._alarms[traced.name] = traced
                found.append(traced)
        return tuple(found)

    def _traced(self, alarm: DriftDetected) -> DriftDetected:
        """Return the feature that broke a relation; the alarm may be that of another one.

        If one feature alone is shifted, no residual in standard deviations is larger than its
        own: the others are that times a partial correlation.
        """
        if alarm.aspect != "relation":
            return alarm
        since = [left for t, left in self._recent if t + (self._origin_t or 0) >= alarm.since_t]
        mean = np.mean(since or [self._recent[-1][1]], axis=0)
        tracked = [stream.name in self._alarms for stream in self._streams[: len(mean)]]
        j = int(np.argmax(np.where(tracked, 0.0, np.abs(mean))))
        direction = "up" if mean[j] > 0 else "down"
        return replace(alarm, name=self._streams[j].name, direction=direction, size=float(mean[j]))

    def _mute(self, name: str) -> None:
        """Ignore a drifted feature from now on, and the relations that it takes part in."""
        width = len(self._made.mixing.base)
        drifted = [stream.name == name for stream in self._streams[:width]]
        pull = self._pull[:, drifted].max(axis=1, initial=0.0)
        for i, stream in enumerate(self._streams):
            tainted = i >= width and pull[i - width] >= _MATERIAL
            self._muted[i] = self._muted[i] or tainted or stream.name == name
