"""Define what is wanted of a file, the table as it was found, and the report on its rows."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from hyperdrift.errors import BadInput

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
OnBytes = Callable[[int], None]

_MOST_SHOWN: Final = 20
_LONGEST: Final = 60

ROLES: Final = (
    *("time", "date", "open", "high", "low", "close", "volume", "n"),
    *("rate", "coin", "interval"),
)
"""What a person may name in `--columns`; `date` is the day where `time` is the time of day."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file is read for, and what a person says of it.

    Attributes:
        coin: Rows of other coins are left out; "" takes the rows of any coin.
        interval_ms: Length of a bar, ms; None takes the one of the rows.
        columns: Names or numbers of columns by role; "" says that no column has the role.
        day_first: Whether dates like 03/04/2026 begin with the day; None if nobody says.
        tz: Time zone of times that carry none, as IANA names it; "" is UTC.
        stamp: Which end of a bar its time names; "" if nobody says.
        decimal: The decimal mark of numbers in text; "" if nobody says.
        rate: What a funding rate is, `percent/8h`; "" if nobody says.
        now_ms: What has not closed or settled by this time, ms UTC, is left out.
    """

    coin: str = ""
    interval_ms: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    day_first: bool | None = None
    tz: str = ""
    stamp: Literal["", "open", "close"] = ""
    decimal: Literal["", ".", ","] = ""
    rate: str = ""
    now_ms: int = 2**62


def converted(column: Any, kind: Any) -> Any | None:
    """Return an Arrow column as another type; None if one of its values is none of that type."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def described(
    *,
    columns: str = "",
    day_first: bool | None = None,
    tz: str = "",
    stamp: str = "",
    decimal: str = "",
    rate: str = "",
) -> Wanted:
    """Return what a person says of files on the command line.

    Raises:
        BadInput: If an option is not written as it must be.
    """
    if stamp not in {"", "open", "close"}:
        raise BadInput(f"--stamp {stamp!r} is not open or close")
    if decimal not in {"", ".", ","}:
        raise BadInput(f"--decimal {decimal!r} is not . or ,")
    found = {}
    for part in filter(None, map(str.strip, columns.split(","))):
        role, equals, name = part.partition("=")
        role = role.strip().casefold()
        if not equals or role not in ROLES:
            known = ", ".join(ROLES)
            raise BadInput(
                f"--columns {part!r} is not written like time=Datum,open=2; it may say {known}"
            )
        found[role] = name.strip()
    return Wanted(
        columns=found,
        day_first=day_first,
        tz=tz,
        stamp=cast("Literal['', 'open', 'close']", stamp),
        decimal=cast("Literal['', '.', ',']", decimal),
        rate=rate,
    )


class TableReport(NamedTuple):
    """Counts of the rows of a file, and what was judged of them.

    Attributes:
        rows: Rows of the file.
        kept: Bars or rates that were made of them.
        left_out: Rows that were left out, by reason.
        notes: What was judged, each in a few words.
        first_bad: The first bad row, counted from 1 below the header, and why it is bad.
    """

    rows: int
    kept: int
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()
    first_bad: str = ""

    @property
    def lost(self) -> int:
        """How many rows were left out."""
        return sum(self.left_out.values())

    def why(self) -> str:
        """Return the reasons for which rows were left out, with counts; "" without any."""
        reasons = reasons_text(self.left_out)
        return f"{reasons}; the first bad one is {self.first_bad}" if self.first_bad else reasons


def reasons_text(left_out: Mapping[str, int]) -> str:
    """Return counts by reason as text, most frequent first."""
    ordered = sorted(left_out.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {reason}" for reason, count in ordered if count)


@dataclass(slots=True)
class RawTable:
    """A table as a file has it.

    Attributes:
        path: The file, for messages.
        names: Names of the columns; numbers from 1 if the file has no header.
        columns: Arrow arrays of equal length, in the order of `names`.
        header: Whether the file names its columns.
        says: What the file says of all its rows, by the name of a column.
        words: Text outside the table: lines above the header.
        lost: Rows that are none, by reason.
        notes: What was judged, each in a few words.
        states: Whether the rows are states of bars as the venue's socket pushes them.
        separator: What stands between the values of delimited text; "" in other formats.
        all_names: Names of all columns of the file; `names` has those that were read.
    """

    path: str
    names: list[str]
    columns: list[Any]
    header: bool = True
    says: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    states: bool = False
    separator: str = ""
    all_names: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows the columns have."""
        return len(self.columns[0]) if self.columns else 0

    def column(self, name: str) -> Any:
        """Return the Arrow array of a column."""
        return self.columns[self.names.index(name)]

    def listed(self) -> str:
        """Return the names of the columns for a message."""
        names = self.all_names or self.names
        return ", ".join(names[:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")


def printable(text: str) -> str:
    """Return text of a file for a message: one line, without control characters, not long."""
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


class RowSieve:
    """Rows that are left out, and why; each row counts for its first reason."""

    def __init__(self, path: str, rows: int, lost: Mapping[str, int]) -> None:
        self.path, self.good = path, np.ones(rows, dtype=np.bool_)
        self.left_out = Counter({reason: count for reason, count in lost.items() if count})
        self.rows = rows + self.left_out.total()
        self.first_bad = ""

    def drop(self, where: Bools, reason: str, *, bad: bool = False) -> int:
        """Leave rows out, and return how many were not left out before.

        Args:
            where: Which rows, shape (rows,).
            reason: Why, to follow a count: `of other coins (ETH)`.
            bad: Whether the first of them is to be named.
        """
        hit = where & self.good
        count = int(np.count_nonzero(hit))
        if count:
            self.left_out[reason] += count
            self.good &= ~hit
            if bad:
                self._name_first(int(hit.argmax()), reason)
        return count

    def _name_first(self, row: int, reason: str) -> None:
        before = int(self.first_bad[4:].partition(":")[0]) if self.first_bad else self.rows + 1
        if row + 1 < before:
            self.first_bad = f"row {row + 1}: {reason}"

    def report(self, kept: int, notes: Iterable[str]) -> TableReport:
        """Return the counts of all rows; `kept` is the number of bars or rates made of them."""
        distinct = tuple(dict.fromkeys(notes))
        return TableReport(self.rows, kept, dict(self.left_out), distinct, self.first_bad)

    def require(self, what: str) -> None:
        """Raise if no row is left.

        Raises:
            BadInput: With the counts by reason.
        """
        if not self.good.any():
            why = reasons_text(self.left_out)
            first = f"; {self.first_bad}" if self.first_bad else ""
            reason = f"{why} are left out of {self.rows} rows{first}" if why else "it has no rows"
            raise BadInput(f"{self.path} gives no {what}: {reason}")
