"""Read the times of a column: one unit or one date format for all of them, in ms UTC."""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np

from daemon.ingest.tables.dates import read_dates
from daemon.ingest.tables.reading import Bools, Ints, Wanted, converted
from daemon.ingest.tables.zones import to_utc
from hyperdrift.errors import BadInput

# The years 2008 to 2103 in seconds; the ranges of the units do not touch.
_FIRST_S, _LAST_S = 1.2e9, 4.2e9
_UNITS: Final = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
NO_ZONE: Final = "times without a zone read as UTC"
_ROUNDED: Final = r"^[0-9](?:[.,][0-9]{0,8})?[eE]\+?[0-9]+$"
_DAY_NUMBERS: Final = (20_000, 80_000)  # of a spreadsheet, the years 1954 to 2119
# Numbers that are dates: 20260301, 202603010000, 20260301000000.
_COMPACT: Final = ((19_000_101, 21_000_101), (190_001_010_000, 210_001_010_000),
                   (19_000_101_000_000, 21_000_101_000_000))  # fmt: skip


class ReadTimes(NamedTuple):
    """Times of a column.

    Attributes:
        t: Times, ms UTC, 0 where not known, shape (rows,).
        known: Which of them could be read, shape (rows,).
        notes: What was judged.
        bad: Rows that are no time for a reason of their own, by reason.
    """

    t: Ints
    known: Bools
    notes: list[str]
    bad: dict[str, Bools]


def read_times(path: str, name: str, column: Any, wanted: Wanted) -> ReadTimes:
    """Read times; text and stamps without a zone are of the zone that `wanted` says, or UTC.

    Args:
        path: The file, for messages.
        name: Name of the column, which may say a zone.
        column: Arrow array of numbers, text or stamps.
        wanted: What a person says of the times.

    Raises:
        BadInput: If the column holds no times, or their unit, order or zone is not sure.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    if pa.types.is_temporal(column.type):
        return _stamps(path, name, column, wanted)
    if (numbers := _numeric(path, name, column)) is not None:
        if not _is_compact(numbers):
            _require_no_zone(path, name, wanted)
            return _epochs(path, name, numbers)
        column = pa.chunked_array([pa.array([str(int(v)) if v == v else "" for v in numbers])])  # noqa: PLR0124 - NaN
    if not pa.types.is_string(column.type):
        raise BadInput(f"{path}: its column {name} holds no times ({column.type})")
    dates = read_dates(path, name, column, wanted)
    if dates.zoned:
        _require_no_zone(path, name, wanted)
        return ReadTimes(dates.t, dates.known, dates.notes, {})
    return _of_zone(path, name, dates.t, dates.known, wanted.tz, dates.notes)


def _require_no_zone(path: str, name: str, wanted: Wanted) -> None:
    """Raise if a person says a zone for times that do not need one."""
    if wanted.tz:
        raise BadInput(f"{path}: the times of {name} say their zone themselves: leave out --tz")


def _of_zone(  # noqa: PLR0917 - as `to_utc`
    path: str, name: str, t: Ints, known: Bools, zone: str, notes: list[str] | None = None
) -> ReadTimes:
    """Turn times that carry no zone into UTC."""
    local = to_utc(path, name, t, known, zone)
    notes = [*(notes or []), *(local.notes or [NO_ZONE])]
    bad = {
        "at a local time that does not exist": local.missing,
        "at a local time that exists twice": local.twice,
    }
    known = known & ~local.missing & ~local.twice
    return ReadTimes(local.t, known, notes, bad)


def _stamps(path: str, name: str, column: Any, wanted: Wanted) -> ReadTimes:
    import pyarrow as pa  # noqa: PLC0415 - see read_times

    kind = column.type
    if pa.types.is_date(kind):
        column, kind = column.cast(pa.timestamp("ms")), pa.timestamp("ms")
    if not pa.types.is_timestamp(kind):
        raise BadInput(f"{path}: its column {name} holds no times ({kind})")
    known = np.asarray(column.is_valid().to_numpy(), dtype=np.bool_)
    whole = column.cast(pa.int64()).fill_null(0).to_numpy().astype(np.int64)
    factor = {"s": 1000, "ms": 1, "us": -(10**3), "ns": -(10**6)}[kind.unit]
    t = whole * factor if factor > 0 else whole // -factor
    if kind.tz is not None:
        _require_no_zone(path, name, wanted)
        return ReadTimes(t, known, [], {})
    return _of_zone(path, name, t, known, wanted.tz)


def _numeric(path: str, name: str, column: Any) -> Any:
    """Return the values of a column of numbers, int64 if they are whole; None if it is text."""
    import pyarrow as pa  # noqa: PLC0415 - see read_times
    import pyarrow.compute as pc  # noqa: PLC0415 - see read_times

    if (whole := converted(column, pa.int64())) is not None:  # the usual case
        return whole.fill_null(0).to_numpy()
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
        if pc.any(pc.match_substring_regex(column, _ROUNDED)).as_py():
            first = column.filter(pc.match_substring_regex(column, _ROUNDED))[0].as_py()
            raise BadInput(
                f"{path}: {name} {first!r} was rounded by a spreadsheet: export it again"
            )
        column = pc.replace_substring_regex(column, r"^([0-9]{5,}),([0-9]*)$", r"\1.\2")
        digits = pc.match_substring_regex(column, r"^[0-9]+(\.[0-9]*)?([eE]\+?[0-9]+)?$")
        share = pc.mean(digits.cast(pa.float64())).as_py() or 0.0
        if share < 0.5:  # noqa: PLR2004 - text, with odd numbers among it
            return None
        column = pc.if_else(digits, column, pa.scalar(None, pa.string()))
    for kind in (pa.int64(), pa.float64()):
        if (numbers := converted(column, kind)) is not None:
            return numbers.fill_null(0 if kind == pa.int64() else np.nan).to_numpy()
    return None


def _is_compact(values: Any) -> bool:
    typical = float(np.nanmedian(values)) if len(values) else 0.0
    return any(first <= typical < last for first, last in _COMPACT)


def _epochs(path: str, name: str, values: Any) -> ReadTimes:
    known = np.zeros(len(values), dtype=np.bool_)
    t = np.zeros(len(values), dtype=np.int64)
    found: dict[str, int] = {}
    for unit, per_s in _UNITS.items():
        here = (values >= _FIRST_S * per_s) & (values < _LAST_S * per_s)
        if here.any():
            found[unit] = int(here.argmax())
            known |= here
            t[here] = _to_ms(values[here], per_s)
    if len(found) > 1:
        where = ", ".join(f"{unit} in row {row + 1}" for unit, row in found.items())
        raise BadInput(f"{path}: {name} is in two units ({where}): give a file for each")
    if not found:
        raise BadInput(_no_unit(path, name, values))
    return ReadTimes(t, known, [f"times in {next(iter(found))}"], {})


def _to_ms(values: Any, per_s: int) -> Ints:
    if values.dtype.kind == "i":
        whole: Ints = values * (1000 // per_s) if per_s <= 1000 else values // (per_s // 1000)  # noqa: PLR2004
        return whole
    scaled: Ints = np.floor(values * (1000 / per_s) + 1e-3).astype(np.int64)
    return scaled


def _no_unit(path: str, name: str, values: Any) -> str:
    finite = values[np.isfinite(values.astype(np.float64))]
    if not len(finite):
        return f"{path} has no times in its column {name}"
    typical = float(np.median(finite))
    if _DAY_NUMBERS[0] <= typical < _DAY_NUMBERS[1]:
        day = datetime.fromtimestamp((typical - 25_569) * 86_400, UTC).date()
        return (
            f"{path}: {name} {typical:g} is a spreadsheet's day number ({day}?): "
            "write dates such as 2026-03-01 00:05"
        )
    return f"{path}: {name} {typical:g} is no time in s, ms, us or ns since 1970"
