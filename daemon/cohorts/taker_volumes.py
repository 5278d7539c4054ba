"""Sum up what each address took in each bar, in little memory however many trades there are.

Months of trades are tens of millions. They arrive almost in the order of time, so only the
sums of one bar are kept by address; those of earlier bars are rows of a few bytes.
"""

from array import array
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from retrain.cohorts.ranking import TakerFlows

Times = NDArray[np.int64]


class TakerVolumes:
    """Net taker volume by address and bar of `step_ms`."""

    def __init__(self, step_ms: int) -> None:
        self._step = step_ms
        self._numbers: dict[str, int] = {}
        self._t = 0
        self._sums: defaultdict[int, float] = defaultdict(float)
        self._rows = array("i"), array("q"), array("f")

    def add(self, time: int, taker: str, signed: float) -> None:
        """Add a trade: time in ms UTC, the taker's address, base units, negative if sold."""
        if (t := time // self._step * self._step) != self._t:
            self._finish_bar()
            self._t = t
        number = self._numbers.setdefault(taker, len(self._numbers))
        self._sums[number] += signed

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, in the order of its number."""
        return tuple(self._numbers)

    def flows(self, t: Times) -> TakerFlows:
        """Return the rows of the bars that opened at `t` (ms UTC, ascending, shape (n_bars,))."""
        self._finish_bar()
        numbers, times, sums = self._rows
        # Copies, because an array that lends its memory cannot grow.
        address, time = np.array(numbers, np.int32), np.array(times, np.int64)
        signed = np.array(sums, np.float32)
        bar = np.searchsorted(t, time)
        known = bar < len(t)
        known[known] = t[bar[known]] == time[known]
        return TakerFlows(address[known], bar[known].astype(np.int32), signed[known])

    def _finish_bar(self) -> None:
        numbers, times, sums = self._rows
        numbers.extend(self._sums)
        times.extend([self._t] * len(self._sums))
        sums.extend(self._sums.values())
        self._sums.clear()
