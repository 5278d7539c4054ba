"""Hold many bars as arrays, check them at once, and compare two copies of them.

A file of two million candles would need a gigabyte as objects.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import BAR_RULES, Bar
from daemon.core.times import utc

Floats = NDArray[np.float64]

_EXAMPLES: Final = 3
_COMPARED: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class BarColumns:
    """Bars, ascending in t, each t once.

    Attributes:
        t: Open times, ms UTC, shape (n_bars,).
        open: Open prices, quote units, shape (n_bars,).
        high: High prices, quote units, shape (n_bars,).
        low: Low prices, quote units, shape (n_bars,).
        close: Close prices, quote units, shape (n_bars,).
        volume: Volumes, base units, shape (n_bars,).
        n: Trades, 0 where nobody knows, shape (n_bars,).
    """

    t: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    n: NDArray[np.int64]

    @classmethod
    def of(cls, bars: Iterable[Bar]) -> Self:
        """Return bars in any order as columns; of several with one t the last stays."""
        by_t = {bar.t: bar for bar in bars}
        kept = [by_t[t] for t in sorted(by_t)]
        whole = {"t", "n"}
        return cls(
            *(
                np.array([getattr(bar, f.name) for bar in kept], "i8" if f.name in whole else "f8")
                for f in fields(cls)
            )
        )

    def __len__(self) -> int:
        return len(self.t)

    def part(self, which: slice | NDArray[Any]) -> "BarColumns":
        """Return the bars of a slice, a mask of shape (n_bars,), or indices of shape (k,)."""
        return BarColumns(*(column[which] for column in self.columns()))

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return t, open, high, low, close, volume and n, each of shape (n_bars,)."""
        return (self.t, self.open, self.high, self.low, self.close, self.volume, self.n)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield each bar as the plain numbers of `columns`."""
        return zip(*(column.tolist() for column in self.columns()), strict=True)

    def bars(self) -> list[Bar]:
        """Return the bars as objects."""
        return [Bar(*row) for row in self.rows()]

    def faults(self) -> dict[str, NDArray[np.bool_]]:
        """Return each reason why numbers are impossible, and for which bars, shape (n_bars,)."""
        with np.errstate(invalid="ignore", over="ignore"):
            return {why: np.asarray(is_so(self)) for why, is_so in BAR_RULES}

    def fault(self) -> str | None:
        """Return which bar is impossible first, and why; None if all are possible."""
        found = self.faults()
        broken = np.any(list(found.values()), axis=0)
        if not broken.any():
            return None
        first = int(np.argmax(broken))
        why = next(why for why, bad in found.items() if bad[first])
        return f"bar at t={int(self.t[first])} cannot be stored: {why}"

    def digest(self) -> str:
        """Return a digest of all numbers: equal bars have equal digests."""
        hashed = hashlib.blake2b(digest_size=16)
        for column in self.columns():
            hashed.update(np.ascontiguousarray(column).data)
        return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference between two copies of a bar; `relative` is a fraction.

    `t` is the open time of the bar, ms UTC.
    """

    t: int
    column: str
    stored: float
    other: float
    relative: float

    def __str__(self) -> str:
        what = f"{self.column} of {utc(self.t)}"
        return f"{what}: stored {self.stored:g}, here {self.other:g} ({self.relative:.2%})"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Comparison of stored bars with the same bars of another source, in bars."""

    equal: int = 0
    differ: int = 0
    largest: Difference | None = None
    examples: tuple[Difference, ...] = ()

    def joined(self, later: "Overlap") -> "Overlap":
        """Return this comparison and that of later bars as one."""
        both = [found for found in (self.largest, later.largest) if found]
        return Overlap(
            self.equal + later.equal,
            self.differ + later.differ,
            max(both, key=lambda d: d.relative, default=None),
            (*self.examples, *later.examples)[:_EXAMPLES],
        )


def compare(stored: BarColumns, other: BarColumns) -> Overlap:
    """Compare bars with the stored bars of the same open times; others do not count."""
    _, here, there = np.intersect1d(stored.t, other.t, assume_unique=True, return_indices=True)
    before = np.array([getattr(stored, name)[here] for name in _COMPARED])
    now = np.array([getattr(other, name)[there] for name in _COMPARED])
    changed = np.flatnonzero(np.any(before != now, axis=0))
    if not len(changed):
        return Overlap(equal=len(here))
    before, now, t = before[:, changed], now[:, changed], stored.t[here][changed]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        relative = np.where(before == 0, now != before, np.abs(now - before) / before)
    column = relative.argmax(axis=0)

    def difference(k: int) -> Difference:
        at = int(column[k]), k
        values = float(before[at]), float(now[at]), float(relative[at])
        return Difference(int(t[k]), _COMPARED[at[0]], *values)

    worst = int(relative.max(axis=0).argmax())
    examples = tuple(difference(k) for k in range(min(len(changed), _EXAMPLES)))
    return Overlap(len(here) - len(changed), len(changed), difference(worst), examples)
