"""Read candles and funding rates from files of other programs.

Column names, time units and file formats differ between exporters. This module has all that
are recognised. For any other the error names the file, the column and what to do.
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import Bar, Funding
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import INTERVAL_MS

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

_TIME_NAMES: Final = (
    "t", "ts", "time", "timestamp", "date", "datetime", "open_time", "opentime",
)  # fmt: skip
_BAR_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "v", "vol", "base_volume"),
}
_COUNT_NAME: Final = "n"
_RATE_NAMES: Final = ("rate", "fundingrate", "funding_rate", "funding")
# A plain number is read in the unit that puts it into the years 2001 to 2286.
_UNITS: Final = ((1e9, 1e10, 1000.0), (1e12, 1e13, 1.0), (1e15, 1e16, 1e-3), (1e18, 1e19, 1e-6))


class TableReport(NamedTuple):
    """Counts of the rows of a file."""

    rows: int
    kept: int
    bad: int
    duplicates: int
    first_bad: str = ""
    """The first bad row, counted from 1 below the header, and why it is bad."""


@dataclass(frozen=True, slots=True)
class TableOfBars:
    """Candles of a file, ascending in t, each t once.

    Attributes:
        t: Open times, ms UTC, shape (n_bars,).
        open: Open prices, quote units, shape (n_bars,).
        high: High prices, quote units, shape (n_bars,).
        low: Low prices, quote units, shape (n_bars,).
        close: Close prices, quote units, shape (n_bars,).
        volume: Volumes, base units, shape (n_bars,).
        n: Trades, 0 where the file does not say, shape (n_bars,).
        interval_ms: Length of a bar, ms.
        report: Counts of the rows.
    """

    t: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    n: NDArray[np.int64]
    interval_ms: int
    report: TableReport

    def bars(self) -> list[Bar]:
        """Return the candles as a list."""
        columns = (self.t, self.open, self.high, self.low, self.close, self.volume, self.n)
        return [Bar(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]


@dataclass(frozen=True, slots=True)
class TableOfFunding:
    """Settled hourly rates of a file, ascending: `time` in ms UTC and `rate`, shape (n,) each."""

    time: NDArray[np.int64]
    rate: Floats
    report: TableReport

    def rates(self) -> list[Funding]:
        """Return the rates as a list."""
        return [Funding(*row) for row in zip(self.time.tolist(), self.rate.tolist(), strict=True)]


def read_bars(path: Path | str, interval_ms: int | None = None) -> TableOfBars:
    """Read candles from CSV, Parquet, Feather or JSON lines.

    Rows are left out and counted if they have impossible numbers, or do not open on a multiple
    of the interval. Of rows with the same time the last one stays.

    Args:
        path: The file; its suffix tells the format.
        interval_ms: Length of a bar, ms; None takes the most frequent spacing of the rows.

    Raises:
        BadInput: If the file cannot be read, a column is missing, or no row is usable.
    """
    path = Path(path)
    table = _read(path)
    t, known = _times(path, table)
    values = {name: _numbers(path, table, name, names) for name, names in _BAR_NAMES.items()}
    opened, high, low, close, volume = values.values()
    with np.errstate(invalid="ignore"):
        faults = {"its time is not understood": ~known}
        faults |= {f"{name} is not a number": ~np.isfinite(x) for name, x in values.items()}
        faults |= {
            "a price is not positive": ~(low > 0),
            "the volume is negative": volume < 0,
            "open or close lies outside low..high": (low > np.minimum(opened, close))
            | (np.maximum(opened, close) > high),
        }
    if interval_ms is None:
        interval_ms = _spacing(path, t[~np.any(list(faults.values()), axis=0)])
    faults["it does not open on the grid of its interval"] = t % interval_ms != 0
    kept, report = _sift(t, faults)
    if not len(kept):
        raise BadInput(f"{path} has no usable candle in {len(t)} rows: look at its first lines")
    columns = {name: column[kept] for name, column in values.items()}
    n = _counts(table)[kept]
    return TableOfBars(t=t[kept], **columns, n=n, interval_ms=interval_ms, report=report)


def read_funding(path: Path | str) -> TableOfFunding:
    """Read funding rates from CSV, Parquet, Feather or JSON lines; times are not rounded.

    Raises:
        BadInput: If the file cannot be read, a column is missing, or no row is usable.
    """
    path = Path(path)
    table = _read(path)
    t, known = _times(path, table)
    rate = _numbers(path, table, "rate", _RATE_NAMES)
    faults = {"its time is not understood": ~known, "the rate is not a number": ~np.isfinite(rate)}
    kept, report = _sift(t, faults)
    if not len(kept):
        raise BadInput(f"{path} has no usable rate in {len(t)} rows: look at its first lines")
    return TableOfFunding(t[kept], rate[kept], report)


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd  # noqa: PLC0415 - takes 0.4 s, and other commands do not need it

    readers: Mapping[str, Callable[[], pd.DataFrame]] = {
        ".csv": lambda: pd.read_csv(path),
        ".parquet": lambda: pd.read_parquet(path),
        ".feather": lambda: pd.read_feather(path),
        ".jsonl": lambda: pd.read_json(path, lines=True, dtype=False),
        ".json": lambda: pd.read_json(path, dtype=False),
    }
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    reader = readers.get(suffixes[-1] if suffixes else "")
    if reader is None:
        raise BadInput(f"{path} is none of {', '.join(readers)}: convert it, or rename it rightly")
    try:
        table = reader()
    except PermissionError as e:  # the command line says what to do
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from e
    # Each format's library raises errors of its own.
    except Exception as e:
        raise BadInput(
            f"{path} cannot be read ({str(e).splitlines()[0] if str(e) else e!r})"
        ) from e
    if not any(str(name).strip().lower() in _TIME_NAMES for name in table.columns):
        table = table.reset_index()  # some exporters put the time into the index
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    return table


def _column(path: Path, table: "pd.DataFrame", what: str, names: tuple[str, ...]) -> Any:
    # The exact spelling goes first: the venue's own rows have t (open) and T (last ms).
    for fold in (str, str.lower):
        by_name = {fold(name): name for name in reversed(table.columns)}
        for name in names:
            if name in by_name:
                return table[by_name[name]]
    found = ", ".join(map(str, table.columns))
    raise BadInput(
        f"{path} has no column for {what}: name one of its columns ({found}) {' or '.join(names)}"
    )


def _numbers(path: Path, table: "pd.DataFrame", what: str, names: tuple[str, ...]) -> Floats:
    import pandas as pd  # noqa: PLC0415 - see _read

    numbers = pd.to_numeric(_column(path, table, what, names), errors="coerce")
    return np.asarray(numbers, dtype=np.float64)


def _counts(table: "pd.DataFrame") -> NDArray[np.int64]:
    """Return the number of trades of each bar, 0 where the table does not say."""
    import pandas as pd  # noqa: PLC0415 - see _read

    if _COUNT_NAME not in table.columns:
        return np.zeros(len(table), dtype=np.int64)
    counts = pd.to_numeric(table[_COUNT_NAME], errors="coerce").fillna(0).clip(0)
    return np.asarray(counts, dtype=np.float64).astype(np.int64)


def _times(path: Path, table: "pd.DataFrame") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the times in ms UTC, and which of them could be read; without a zone it is UTC."""
    import pandas as pd  # noqa: PLC0415 - see _read

    column = _column(path, table, "the time", _TIME_NAMES)
    numbers = pd.to_numeric(column, errors="coerce") if column.dtype.kind not in "mM" else None
    if numbers is None or numbers.isna().all():
        stamps = pd.to_datetime(column, utc=True, errors="coerce", format="mixed")
        known = np.asarray(stamps.notna())
        t = np.asarray(stamps.dt.as_unit("ms").astype("int64"), dtype=np.int64)
        return np.where(known, t, 0), known
    values = np.asarray(numbers, dtype=np.float64)
    typical = float(np.nanmedian(np.abs(values)))
    for least, most, factor in _UNITS:
        if least <= typical < most:
            known = np.isfinite(values)
            return _milliseconds(numbers, values, known, factor), known
    raise BadInput(f"{path}: {column.name} {typical:g} is no time in s, ms, us or ns since 1970")


def _milliseconds(
    numbers: "pd.Series[Any]", values: Floats, known: NDArray[np.bool_], factor: float
) -> NDArray[np.int64]:
    if numbers.dtype.kind in "iu" and factor < 1:  # ns do not fit a float exactly
        whole: NDArray[np.int64] = np.asarray(numbers, dtype=np.int64) // round(1 / factor)
        return whole
    return np.where(known, np.rint(np.where(known, values, 0.0) * factor), 0.0).astype(np.int64)


def _spacing(path: Path, t: NDArray[np.int64]) -> int:
    steps, counts = np.unique(np.diff(np.unique(t)), return_counts=True)
    if not len(steps):
        why = "fewer than two usable rows, which tell no interval: give a longer file"
        raise BadInput(f"{path} has {why}")
    step = int(steps[counts.argmax()])
    if step not in INTERVAL_MS.values():
        raise BadInput(f"{path} has a row every {step} ms, which is none of the venue's intervals")
    return step


def _sift(
    t: NDArray[np.int64], faults: Mapping[str, NDArray[np.bool_]]
) -> tuple[NDArray[np.intp], TableReport]:
    """Return the numbers of the rows to keep, ascending in t, and counts of all rows."""
    good = ~np.any(list(faults.values()), axis=0)
    kept = _last_of_each(t, good)
    first = ""
    if not good.all():
        row = int(np.argmin(good))
        first = f"row {row + 1}: " + next(why for why, bad in faults.items() if bad[row])
    duplicates = int(good.sum()) - len(kept)
    return kept, TableReport(len(t), len(kept), int((~good).sum()), duplicates, first)


def _last_of_each(t: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the number of the last good row of each time, ascending in t."""
    rows = np.flatnonzero(good)[::-1]
    _, first = np.unique(t[rows], return_index=True)
    return rows[first]
