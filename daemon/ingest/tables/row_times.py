"""Find the time of each row: one column, or a day and a time of day in two."""

import re
from typing import Any, Final, NamedTuple

import numpy as np

from daemon.ingest.tables.columns import OPEN_TIMES, TIME_ZONES, Columns, folded
from daemon.ingest.tables.reading import Bools, Ints, RawTable, RowSieve, Wanted
from daemon.ingest.tables.times import NO_ZONE, read_times
from daemon.ingest.tables.zones import is_utc, zone_in
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import MINUTE_MS

_DAY_ONLY: Final = (
    r"^\s*(\d{4}[-./]?\d{1,2}[-./]?\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|"
    r"\d{1,2}[-/. ]+[\p{L}\p{M}]{3,12}[-/., ]+\d{2,4})\s*$"
)
_CLOCK_ONLY: Final = r"^\s*(\d{1,2}(:\d{2}){1,2}(\.\d+)?(\s*[AaPp][Mm])?|\d{3,4}|\d{5,6}|0)\s*$"
_HOURS: Final = frozenset({"hour", "heure", "hora", "ora"})
_HOUR_ONLY: Final = r"^\s*\d{1,2}\s*$"
_OF_ZONE: Final = re.compile(r"time ?_?zone|\btz\b", re.IGNORECASE)
_OF_TIMES: Final = re.compile("time|zone|date|hour|clock|zeit|heure|hora", re.IGNORECASE)
_ZONES_APART_S: Final = 900
_LOOK: Final = 1000  # rows


class RowTimes(NamedTuple):
    """Times of rows.

    Attributes:
        t: Times, ms UTC, shape (rows,).
        name: The column, for messages.
        is_close: Whether it is the time of a close, by its name or a column of closes.
        lengths: How long bars are by their open and close, ms, 0 where not known, shape (rows,);
            None if the table has one of the two only.
        notes: What was judged.
    """

    t: Ints
    name: str
    is_close: bool
    lengths: Ints | None
    notes: list[str]


def row_times(table: RawTable, columns: Columns, wanted: Wanted, sieve: RowSieve) -> RowTimes:
    """Read the times of rows; rows whose time is none are left out.

    Raises:
        BadInput: If no column is sure to be the time.
    """
    name, column = _chosen(table, columns)
    read = read_times(table.path, name, column, wanted)
    if NO_ZONE in read.notes and not wanted.tz:
        _require_no_zone(table)
    repeated = _repeats_header(column, name)
    sieve.drop(~read.known & repeated, "that repeat the header")
    for reason, rows in read.bad.items():
        sieve.drop(rows, reason, bad=True)
    sieve.drop(~read.known, "whose time is not understood", bad=True)
    is_close, lengths = name in columns.closes, None
    if not is_close and not columns.time_said and columns.closes:
        lengths = _lengths(table, columns.closes[0], read.t, sieve.good, wanted)
        is_close = lengths is not None and not lengths[sieve.good].any()  # the same column twice
    return RowTimes(read.t, name, is_close, lengths, [*read.notes])


def _lengths(table: RawTable, close: str, t: Ints, good: Bools, wanted: Wanted) -> Ints | None:
    """Return how long bars are by a column of closes, ms, shape (rows,); None if it has no times.

    A close may be stamped up to a second before the next open.
    """
    try:
        closes = read_times(table.path, close, table.column(close), wanted)
    except BadInput:
        return None
    if not np.all(closes.known[good]):
        return None
    apart = np.where(closes.known, closes.t - t, 0)
    if np.any(apart[good] < 0):
        return None
    last_s = closes.t % MINUTE_MS == MINUTE_MS - 1000
    return np.where(apart > 0, -(-apart // 1000) * 1000 + last_s * 1000, 0)


def _require_no_zone(table: RawTable) -> None:
    """Raise if the document, a heading or a column says that times are of another zone than UTC."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    said = [v for k, v in table.says.items() if _OF_ZONE.search(k) and not is_utc(v)]
    said += [z for word in table.words if _OF_TIMES.search(word) and (z := zone_in(word))]
    if said:
        zone = said[0] if "/" in said[0] else "Europe/Berlin"
        raise BadInput(
            f"{table.path} says that its times are of {said[0]}: say --tz, such as --tz {zone}"
        )
    for name in table.names:
        if folded(name) in TIME_ZONES:
            zones = table.column(name).cast(pa.string()).unique().to_pylist()
            if zone := next((z for z in zones if z is not None and not is_utc(z)), ""):
                raise BadInput(
                    f"{table.path}: its column {name} says {zone}: say --tz, such as "
                    "--tz Europe/Berlin; a file with several zones needs one for each"
                )


def _chosen(table: RawTable, columns: Columns) -> tuple[str, Any]:
    """Return the name and the values of the column of the time."""
    if (day := _with_clock(table, columns)) is not None:
        return f"{columns.day} {columns.clock}", day
    options = columns.times or columns.closes
    if not options:
        raise BadInput(
            f"{table.path} has no column for the time; there are {table.listed()}: "
            "name it with --columns time=NAME"
        )
    if columns.time_said or len(options) == 1:
        return options[0], table.column(options[0])
    numeric = [name for name in options if _is_number(table.column(name))]
    opens = [name for name in options if folded(name) in OPEN_TIMES]
    chosen = next(iter(opens or numeric or _fullest(table, options)))
    if not opens:
        _require_one(table, chosen, numeric or _fullest(table, options))
    elif chosen not in numeric:  # it may be local beside a number, which is not
        _require_one(table, chosen, numeric, by_zone=True)
    return chosen, table.column(chosen)


def _fullest(table: RawTable, options: list[str]) -> list[str]:
    """Return the columns of text that hold more than a day or a time of day, if there are any."""
    full = [name for name in options if not _all(table.column(name), _DAY_ONLY)
            and not _all(table.column(name), _CLOCK_ONLY)]  # fmt: skip
    return full or options


def _require_one(
    table: RawTable, chosen: str, options: list[str], *, by_zone: bool = False
) -> None:
    """Raise if another column would give other times; if `by_zone`, those of another zone."""
    for name in options:
        if name == chosen:
            continue
        try:
            one, other = (
                read_times(table.path, n, table.column(n).slice(0, _LOOK), Wanted()).t // 1000
                for n in (chosen, name)
            )
        except BadInput:
            continue  # it is no time, or is not sure to be another one
        apart = one - other
        if apart.any() and not (by_zone and (apart % _ZONES_APART_S).any()):
            raise BadInput(
                f"{table.path}: {chosen} and {name} may be the time, and differ: "
                "say which with --columns time=NAME"
            )


def _with_clock(table: RawTable, columns: Columns) -> Any:
    """Return day and time of day as one text; None if they do not stand in two columns."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it
    import pyarrow.compute as pc  # noqa: PLC0415 - see above

    if not columns.day or not columns.clock or columns.day == columns.clock:
        return None
    day, clock = table.column(columns.day), table.column(columns.clock)
    if pa.types.is_time(clock.type) or pa.types.is_date(day.type):
        day, clock = day.cast(pa.string()), clock.cast(pa.string())
    if folded(columns.clock) in _HOURS and _all(clock, _HOUR_ONLY):
        clock = pc.binary_join_element_wise(clock.cast(pa.string()), "00", ":")
    if not _all(day, _DAY_ONLY) or not _all(clock, _CLOCK_ONLY):
        return None
    day, clock = (pc.utf8_trim_whitespace(c.cast(pa.string())) for c in (day, clock))
    bare = pc.match_substring_regex(clock, r"^\d+$")
    if pc.any(bare).as_py():  # 5 is five minutes past midnight in 0005 and in 000500
        width = 6 if (pc.max(pc.utf8_length(clock)).as_py() or 0) > 4 else 4  # noqa: PLR2004
        clock = pc.if_else(bare, pc.utf8_lpad(clock, width, "0"), clock)
    return pc.binary_join_element_wise(day, clock, " ")


def _all(column: Any, pattern: str) -> bool:
    """Return whether nearly all values match, repeated headers and footers aside."""
    import pyarrow as pa  # noqa: PLC0415 - see _with_clock
    import pyarrow.compute as pc  # noqa: PLC0415 - see _with_clock

    if pa.types.is_temporal(column.type):
        return False
    text = column.slice(0, _LOOK).cast(pa.string())
    share = pc.mean(pc.match_substring_regex(text, pattern).cast(pa.float64())).as_py()
    return share is not None and share >= 0.8  # noqa: PLR2004


def _is_number(column: Any) -> bool:
    """Return whether a column counts the time since 1970."""
    import pyarrow as pa  # noqa: PLC0415 - see _with_clock

    if pa.types.is_string(column.type):
        return _all(column, r"^\s*\d{10,}(\.\d*)?\s*$")
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def _repeats_header(column: Any, name: str) -> Bools:
    import pyarrow as pa  # noqa: PLC0415 - see _with_clock
    import pyarrow.compute as pc  # noqa: PLC0415 - see _with_clock

    if not pa.types.is_string(column.type):
        return np.zeros(len(column), dtype=np.bool_)
    found = pc.equal(pc.utf8_trim_whitespace(column), name).fill_null(False)  # noqa: FBT003
    return np.asarray(found.to_numpy(), dtype=np.bool_)
