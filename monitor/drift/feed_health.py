"""Detect features that are missing or frozen: a fault of the feed is no drift."""

import datetime as dt
from dataclasses import dataclass

import numpy as np

from monitor.drift.normal_scores import Floats
from monitor.drift.reference import Reference

ALL = "all features"
# A feature is frozen if it keeps one value for this many bars on which it should move, and for
# this many times its longest such stretch in the reference.
_FROZEN_BARS = 12
_FROZEN_LONGER = 1.3
# A feature with a longer stretch than this in the reference (a flag, a rate that is set) is never
# frozen: the reference does not show how long it may stay constant.
_SLOW_BARS = 144


@dataclass(frozen=True, slots=True)
class FeedFault:
    """A feature is missing, or constant for longer than in the reference; this is no drift."""

    name: str
    t: int
    since_t: int
    kind: str

    def __str__(self) -> str:
        since = utc(self.since_t)
        return f"{self.name}: {self.kind} since {since}; look at the feed, not at the model"


def utc(t: int) -> str:
    """Return a time in ms UTC as readable text."""
    return dt.datetime.fromtimestamp(t / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


class FeedHealth:
    """Detects missing and frozen features.

    A bar counts against a constant feature only if as many others move as usually move with it.
    So a market without trades or an outage of the venue is no fault, and hides none.

    Args:
        reference: The statistics of the training window.

    Attributes:
        limits: Constant bars that are a fault, shape (features,); infinite where none is.
    """

    def __init__(self, reference: Reference) -> None:
        self._names = reference.names
        # By how many features move; on a bar on which none does, all stand still.
        moved = np.arange(len(self._names) + 1)[:, None]
        self._counts = np.where(moved > 0, reference.company <= moved, 1.0)
        longest = np.where(reference.longest > _SLOW_BARS, np.inf, reference.longest)
        self.limits = np.maximum(_FROZEN_BARS, np.ceil(_FROZEN_LONGER * longest))
        self._last = np.full(len(self._names), np.nan)
        self._same = np.zeros(len(self._names))
        self._since = np.zeros(len(self._names), dtype=np.int64)
        self._faulty = np.zeros(len(self._names), dtype=bool)

    def check(self, t: int, values: Floats, *, flat: bool) -> tuple[FeedFault, ...]:
        """Return the faults that begin with this row, and set frozen values in it to NaN.

        Args:
            t: Open time of the bar, ms UTC.
            values: Its features, shape (features,); frozen ones are NaN afterwards.
            flat: Whether the price has been constant so long that no feature needs to change.
        """
        missing = ~np.isfinite(values)
        same = values == self._last
        if np.count_nonzero(missing):
            same |= missing & np.isnan(self._last)
        moves = ~same
        moved = np.count_nonzero(moves)
        if not flat:
            self._same += self._counts[moved]
        np.copyto(self._same, 1.0, where=moves)
        np.copyto(self._since, t, where=moves)
        faulty = missing | (self._same >= self.limits) | (self._faulty & same)
        if not np.count_nonzero(faulty):  # as almost always
            self._last, self._faulty = values, faulty
            return ()
        self._last = np.where(missing, np.nan, values)
        fresh = faulty & ~self._faulty
        if fresh.any() and not moved:  # the whole row is constant
            faulty[:] = fresh[:] = True
        self._faulty = faulty
        values[faulty] = np.nan
        if fresh.all():
            kind = "missing" if missing.all() else "frozen"
            return (FeedFault(ALL, t, int(self._since.max()), kind),)
        return tuple(
            FeedFault(self._names[j], t, int(self._since[j]), "missing" if missing[j] else "frozen")
            for j in np.flatnonzero(fresh)
        )
