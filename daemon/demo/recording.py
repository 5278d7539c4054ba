"""Recorded candles and funding of one coin as arrays; the replay exchange plays them.

A recording checks once, when it is made, that its numbers are possible, its times ascend and
its columns are equally long. All other code relies on that.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hyperdrift.errors import BadInput
from hyperdrift.slot_name import INTERVAL_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PER_BAR = ("t", "open", "high", "low", "close", "volume", "n")
# No coin's sizes have more decimals; further decimals of a sum are rounding errors.
_SIZE_DECIMALS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Candles of one coin at one interval, and the funding of the same time.

    Attributes:
        coin: The coin as the venue writes it.
        interval: The venue's name of the interval, for example `5m`.
        t: Open times in ms UTC, shape (n_bars,), ascending; bars may be missing.
        open: Price of the first trade, shape (n_bars,).
        high: Highest price, shape (n_bars,).
        low: Lowest price, shape (n_bars,).
        close: Price of the last trade, shape (n_bars,).
        volume: Base units, shape (n_bars,); 0 where nothing was traded.
        n: Trades in the bar, shape (n_bars,).
        funding_t: Settlement times as stamped, ms UTC, shape (n_settled,), ascending.
        funding_rate: Rate per hour, shape (n_settled,).

    Raises:
        BadInput: If there are no bars, columns differ in length, times do not ascend or are
            no multiples of the interval, or a number is impossible.
    """

    coin: str
    interval: str
    t: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    n: Ints
    funding_t: Ints
    funding_rate: Floats

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            msg = f"recording of {self.coin} {self.interval}: {fault}"
            raise BadInput(msg)

    def __len__(self) -> int:
        return len(self.t)

    @property
    def interval_ms(self) -> int:
        """Length of one bar, ms."""
        return INTERVAL_MS[self.interval]

    @property
    def end_ms(self) -> int:
        """Close time of the last bar, ms UTC, exclusive."""
        return int(self.t[-1]) + self.interval_ms

    def between(self, from_ms: int, to_ms: int) -> Self:
        """Return the bars that open from `from_ms` (inclusive) to `to_ms` (exclusive), ms UTC.

        All funding rates stay: a bar needs the rate settled before it.

        Raises:
            BadInput: If there is no such bar.
        """
        keep = slice(*np.searchsorted(self.t, (from_ms, to_ms)))
        return replace(self, **{name: getattr(self, name)[keep] for name in _PER_BAR})

    def resampled(self, interval: str) -> Self:
        """Merge the bars into bars of a longer `interval`, as the venue does.

        Bars without trades are left out, because nobody traded at their prices. If none of the
        merged bars has trades, the result is flat.

        Raises:
            BadInput: If `interval` is not a multiple of the recorded one.
        """
        length = INTERVAL_MS[interval]
        if length % self.interval_ms:
            msg = f"{self.coin} is recorded at {self.interval}, which does not add up to {interval}"
            raise BadInput(msg)
        bucket = self.t // length
        starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
        index = np.arange(len(self))
        sums = np.add.reduceat(self.volume, starts)
        member = np.searchsorted(starts, index, "right") - 1
        used = (self.volume > 0) | (sums[member] == 0)
        first = np.minimum.reduceat(np.where(used, index, len(self)), starts)
        last = np.maximum.reduceat(np.where(used, index, -1), starts)
        return replace(
            self,
            interval=interval,
            t=bucket[starts] * length,
            open=self.open[first],
            high=np.maximum.reduceat(np.where(used, self.high, -np.inf), starts),
            low=np.minimum.reduceat(np.where(used, self.low, np.inf), starts),
            close=self.close[last],
            volume=np.round(sums, _SIZE_DECIMALS).astype(np.float64),
            n=np.add.reduceat(self.n, starts),
        )

    def _fault(self) -> str | None:
        if not len(self.t):
            return "it has no bars"
        if len({len(getattr(self, name)) for name in _PER_BAR}) > 1:
            return f"the columns {', '.join(_PER_BAR)} differ in length"
        if len(self.funding_t) != len(self.funding_rate):
            return "funding has more times than rates, or fewer"
        rules: tuple[tuple[Callable[[], np.bool], str], ...] = (
            (lambda: np.all(np.diff(self.t) > 0), "t must ascend without repeats; sort it"),
            (lambda: np.all(self.t % self.interval_ms == 0), "t must lie on the interval's grid"),
            (lambda: np.all(np.diff(self.funding_t) > 0), "funding times must ascend"),
            (lambda: np.all(np.isfinite(self.volume)), "a volume is not a finite number"),
            (lambda: np.all(self.volume >= 0), "a volume is negative"),
            (lambda: np.all(self.low > 0), "a price is not positive"),
            (lambda: np.all(np.isfinite(self.high)), "a price is not a finite number"),
            (self._ordered, "open or close lies outside low..high"),
        )
        return next((text for holds, text in rules if not holds()), None)

    def _ordered(self) -> np.bool:
        inner_low = np.minimum(self.open, self.close)
        inner_high = np.maximum(self.open, self.close)
        return np.all((self.low <= inner_low) & (inner_high <= self.high))
