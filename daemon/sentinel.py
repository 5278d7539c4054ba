"""Hold the features that a bot used against our own, bar for bar.

A model is trained on our features and served on the bot's. Where they part, nothing
fails: the bot only trades on numbers that the model has never seen. Bots answer a bar
before, after, or twice as often as we score it, and all of that is well.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from monitor.events import FeaturesAgreed, FeaturesDiffered

Row = tuple[float | None, ...]
Compared = FeaturesAgreed | FeaturesDiffered

TOLERANCE: Final = 1e-9
# Bars that a bot may be behind us, and rows that may wait for a bar of ours.
KEPT_BARS, KEPT_ROWS = 64, 256


class Sentinel:
    """Compares the rows of one slot, each that differs from those before it once.

    Args:
        slot: Its name.
        names: Of the features, in order.
    """

    def __init__(self, slot: str, names: Sequence[str]) -> None:
        self._slot, self._names = slot, tuple(names)
        self._ours: OrderedDict[int, tuple[float, ...]] = OrderedDict()
        self._early: OrderedDict[tuple[int, Row], None] = OrderedDict()
        self._done: OrderedDict[tuple[int, Row], None] = OrderedDict()

    def scored(self, t: int, row: Sequence[float], at_ms: int) -> list[Compared]:
        """Take our own row of a bar; compare what bots said of it before.

        A row with an undefined feature is not compared: it is we who lack history then.
        """
        self._ours[t] = tuple(row)
        _shorten(self._ours, KEPT_BARS)
        waiting = [key for key in self._early if key[0] == t]
        for key in waiting:
            del self._early[key]
        return [found for _, theirs in waiting for found in self.predicted(t, theirs, at_ms)]

    def predicted(self, t: int, theirs: Row, at_ms: int) -> list[Compared]:
        """Take a bot's row of the bar that opened at `t`; None in it stands for NaN."""
        key = (t, theirs)
        if key in self._done:
            return []  # delivered twice
        ours = self._ours.get(t)
        if ours is None:
            if not self._ours or t > next(reversed(self._ours)):
                self._early[key] = None
                _shorten(self._early, KEPT_ROWS)
            return []
        self._done[key] = None
        _shorten(self._done, KEPT_ROWS)
        if not all(map(math.isfinite, ours)):
            return []
        return [self._compare(t, theirs, ours, at_ms)]

    def _compare(self, t: int, theirs: Row, ours: tuple[float, ...], at_ms: int) -> Compared:
        names = self._names
        if len(theirs) != len(ours):
            names, theirs, ours = ("the number of features",), (len(theirs),), (len(ours),)
        wrong = [i for i, pair in enumerate(zip(theirs, ours, strict=True)) if not _same(*pair)]
        if not wrong:
            return FeaturesAgreed(slot=self._slot, at_ms=at_ms, t=t)
        return FeaturesDiffered(
            slot=self._slot,
            at_ms=at_ms,
            t=t,
            column=names[wrong[0]],
            theirs=_finite(theirs[wrong[0]]),
            ours=ours[wrong[0]],
            others=len(wrong) - 1,
        )


def _same(theirs: float | None, ours: float) -> bool:
    return theirs is not None and math.isclose(theirs, ours, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _shorten(kept: OrderedDict[Any, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
