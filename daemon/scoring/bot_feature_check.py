"""Compare the features that a bot used with our own, bar by bar.

A model is trained on our features and predicts from the bot's. If they differ, nothing fails: the
bot trades on numbers that the model was not trained for. A bot may send its row before or after
we score the bar, and any number of times; each bar is reported at most twice.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.events import FeaturesAgreed, FeaturesDiffered

Row = tuple[float | None, ...]
Compared = FeaturesAgreed | FeaturesDiffered

TOLERANCE: Final = 1e-9
# Bars that a bot may be late, and rows that may wait until we score their bar.
KEPT_BARS, KEPT_ROWS = 64, 256


@dataclass(slots=True)
class _Bar:
    """Our row of a bar, and the verdict on the bots' rows so far."""

    ours: tuple[float, ...]
    told: type[Compared] | None = None


class BotFeatureCheck:
    """Compares the rows of one slot; reports each bar once as equal and once as different.

    Args:
        slot: Name of the slot.
        names: Names of the features, in order.
    """

    def __init__(self, slot: str, names: Sequence[str]) -> None:
        self._slot, self._names = slot, tuple(names)
        self._bars: OrderedDict[int, _Bar] = OrderedDict()
        self._early: OrderedDict[tuple[int, Row], None] = OrderedDict()

    def scored(self, t: int, row: Sequence[float], at_ms: int) -> list[Compared]:
        """Take our row of a bar; compare it with the rows that bots sent before.

        A row with an undefined feature is not compared: we lack bars for it.
        """
        self._bars[t] = _Bar(tuple(row))
        _shorten(self._bars, KEPT_BARS)
        waiting = [key for key in self._early if key[0] == t]
        for key in waiting:
            del self._early[key]
        return [found for _, theirs in waiting for found in self.predicted(t, theirs, at_ms)]

    def predicted(self, t: int, theirs: Row, at_ms: int) -> list[Compared]:
        """Take a bot's row of the bar that opened at `t`; None in it stands for NaN."""
        bar = self._bars.get(t)
        if bar is None:
            if not self._bars or t > next(reversed(self._bars)):
                self._early[t, theirs] = None
                _shorten(self._early, KEPT_ROWS)
            return []
        # A bar that differed stays different, whatever other rows are sent for it.
        if bar.told is FeaturesDiffered or not all(map(math.isfinite, bar.ours)):
            return []
        found = self._compare(t, theirs, bar.ours, at_ms)
        if bar.told is type(found):
            return []
        bar.told = type(found)
        return [found]

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
