"""Sum up what each address took in each bar, in little memory however many trades there are.

Months of trades are tens of millions. They arrive almost in the order of time, so only the
sums of one bar are kept by address; those of earlier bars are rows of a few bytes.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrain.cohorts.ranking import TakerFlows

Times = NDArray[np.int64]

_BARS_AT_ONCE: Final = 288


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

    def bars(self) -> Iterator[dict[int, dict[str, float]]]:
        """Yield net volume by open time (ms UTC) and address, some hundred bars at a time."""
        self._finish_bar()
        number, time, signed = (np.array(column) for column in self._rows)
        order = np.argsort(time, kind="stable")
        number, time, signed = number[order], time[order], signed[order]
        starts = np.flatnonzero(np.diff(time, prepend=-1))
        ends = np.r_[starts[1:], len(time)]
        names = self.addresses
        for first in range(0, len(starts), _BARS_AT_ONCE):
            some = {}
            for k in range(first, min(first + _BARS_AT_ONCE, len(starts))):
                span = slice(starts[k], ends[k])
                takers: defaultdict[str, float] = defaultdict(float)
                for one, size in zip(number[span].tolist(), signed[span].tolist(), strict=True):
                    takers[names[one]] += size
                some[int(time[starts[k]])] = dict(takers)
            yield some

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
