"""Feel whether the feed of each feature is alive: a fault of the feed is no drift."""

import datetime as dt
from dataclasses import dataclass

import numpy as np

from monitor.drift.reference import Floats, Reference

ALL = "all features"
# A feature must keep one value for this many bars on which it would be expected to move, and
# this many times as long as it ever did in the reference, to be called frozen.
_FROZEN_BARS = 12
_FROZEN_LONGER = 1.3
# One that stood still for longer than this in the reference (a flag, a rate that is set) is not:
# how long it may yet stand still is not known from there.
_SLOW_BARS = 144


@dataclass(frozen=True, slots=True)
class FeedFault:
    """A feature is missing or stands still as it never did in the reference: not drift."""

    name: str
    t: int
    since_t: int
    kind: str

    def __str__(self) -> str:
        since = utc(self.since_t)
        return f"{self.name}: {self.kind} since {since}; look at the feed, not at the model"


def utc(t: int) -> str:
    """Return a time in ms UTC as people read it."""
    return dt.datetime.fromtimestamp(t / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


class FeedHealth:
    """Feels whether the feed of each feature is alive.

    A feature stands still if it does while as many others move as usually move with it. So
    neither a market without trades nor an outage of the venue is a fault, and neither hides one.

    Args:
        reference: What the training window looked like.

    Attributes:
        limits: Bars of standing still that are a fault, shape (features,); infinite where any
            number of them may be.
    """

    def __init__(self, reference: Reference) -> None:
        self._names, self._company = reference.names, reference.company
        longest = np.where(reference.longest > _SLOW_BARS, np.inf, reference.longest)
        self.limits = np.maximum(_FROZEN_BARS, np.ceil(_FROZEN_LONGER * longest))
        self._last = np.full(len(self._names), np.nan)
        self._same = np.zeros(len(self._names), dtype=np.int64)
        self._since = np.zeros(len(self._names), dtype=np.int64)
        self._ill = np.zeros(len(self._names), dtype=bool)

    def feel(self, t: int, values: Floats, *, flat: bool) -> tuple[FeedFault, ...]:
        """Return the faults that begin with this row, and blank frozen values in it.

        Args:
            t: Open time of the bar, ms UTC.
            values: Its features, shape (features,); frozen ones are NaN afterwards.
            flat: Whether the price has stood still for so long that nothing need move.
        """
        missing = ~np.isfinite(values)
        same = (values == self._last) | (missing & np.isnan(self._last))
        moved = len(same) - int(np.count_nonzero(same))
        if not flat:
            self._same += (self._company <= moved) if moved else 1
        self._same[~same] = 1
        self._since[~same] = t
        ill = missing | (self._same >= self.limits) | (self._ill & same)
        if not ill.any():  # as almost always
            self._last, self._ill = values, ill
            return ()
        self._last = np.where(missing, np.nan, values)
        fresh = ill & ~self._ill
        if fresh.any() and not moved:  # it is the whole row that stands still
            ill[:] = fresh[:] = True
        self._ill = ill
        values[ill] = np.nan
        if fresh.all():
            kind = "missing" if missing.all() else "frozen"
            return (FeedFault(ALL, t, int(self._since.max()), kind),)
        return tuple(
            FeedFault(self._names[j], t, int(self._since[j]), "missing" if missing[j] else "frozen")
            for j in np.flatnonzero(fresh)
        )
