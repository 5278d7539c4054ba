"""Run river's Page-Hinkley test on every stream of a monitor, all streams together.

A monitor has some forty streams, and a start replays weeks of them. So the sums of all tests
stand in arrays. Each number is the one that `AnchoredPageHinkley` would have, to the last bit,
up to the first alarm of its stream; after that nobody feeds it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from monitor.drift.normal_scores import Floats

# The sums of a fall are kept with the other sign.
_SIDES: Floats = np.array([[1.0], [-1.0]])


class Change(NamedTuple):
    """What a test saw: the evidence over its threshold, its direction, since when, the mean then.

    `since_t` is in ms, as it was fed.
    """

    evidence: float
    direction: str
    since_t: int
    mean: float


class StreamTests:
    """The tests of all streams, each anchored at a mean of 0.

    Args:
        thresholds: Evidence that raises an alarm, shape (streams,).
        tolerances: Changes of the mean that are tolerated, shape (streams,).
        anchor: Number of observations of 0 that each test begins with.

    Attributes:
        evidence: Evidence of a rise and of a fall over its threshold, shape (2, streams).
        fired: Whether the newest value raised an alarm, shape (streams,).
    """

    def __init__(self, thresholds: Floats, tolerances: Floats, anchor: int) -> None:
        width = len(thresholds)
        self._thresholds, self._tolerances = thresholds, tolerances
        self._seen, self._mean = np.full(width, float(anchor)), np.zeros(width)
        self._sums, self._lowest = np.zeros((2, width)), np.zeros((2, width))
        self.evidence, self.fired = np.zeros((2, width)), np.zeros(width, dtype=bool)
        # Of the values since the evidence began to grow.
        self._since_t = np.zeros((2, width), dtype=np.int64)
        self._total, self._count = np.zeros((2, width)), np.zeros((2, width))

    def feed(self, t: int, values: Floats, fed: NDArray[np.bool_]) -> None:
        """Take a value of each stream.

        Args:
            t: When the values began, ms.
            values: Finite, shape (streams,).
            fed: Which streams take theirs, shape (streams,).
        """
        grows = self.evidence > 0
        np.copyto(self._since_t, t, where=fed & ~grows)
        np.copyto(self._total, self._total * grows + values, where=fed)
        np.copyto(self._count, self._count * grows + 1, where=fed)
        self._seen += fed
        # In river's order, so that the roundings are the same.
        mean = self._mean + (1.0 / self._seen) * (values - self._mean)
        sums = self._sums + _SIDES * (values - mean) - self._tolerances
        np.copyto(self._mean, mean, where=fed)
        np.copyto(self._sums, sums, where=fed)
        np.minimum(self._lowest, self._sums, out=self._lowest)
        grown = self._sums - self._lowest
        self.evidence = grown / self._thresholds
        rise, fall = grown > self._thresholds
        self.fired = rise | fall

    def change(self, stream: int) -> Change:
        """Return what the test of a stream saw."""
        rise, fall = self.evidence[:, stream].tolist()
        side = int(fall > rise)
        mean = self._total[side, stream] / max(1, self._count[side, stream])
        since_t = int(self._since_t[side, stream])
        return Change(max(rise, fall), ("up", "down")[side], since_t, float(mean))
