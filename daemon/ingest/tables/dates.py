"""Read dates in text: one format for the whole column, its order of day and month judged."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from daemon.ingest.tables.columns import folded
from daemon.ingest.tables.reading import Bools, Ints, Wanted, converted, printable
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, HOUR_MS, MINUTE_MS

_PIECE: Final = 50_000  # rows that are taken apart at a time
_FIRST_YEAR, _LAST_YEAR = 2009, 2100
_FIRST_MS, _LAST_MS = (  # their first days, as ms since 1970
    int(np.datetime64(str(year)).astype("datetime64[ms]").astype(np.int64))
    for year in (_FIRST_YEAR, _LAST_YEAR)
)
# English, German, French, Spanish, Italian, Portuguese, Dutch and Nordic, without accents.
_MONTHS: Final = tuple(map(str.split, (
    "january januar janner jaenner janvier enero gennaio janeiro januari",
    "february februar feber fevrier febrero febbraio fevereiro februari",
    "march marz maerz mrz mars marzo marco maart mrt marts",
    "april avril abril aprile",
    "may mai mayo maggio maio mei maj",
    "june juni juin junio giugno junho",
    "july juli juillet julio luglio julho",
    "august aout agosto augustus augusti",
    "september septembre septiembre setiembre settembre setembro",
    "october oktober octobre octubre ottobre outubro",
    "november novembre noviembre novembro",
    "december dezember decembre diciembre dicembre dezembro desember",
)))  # fmt: skip
_CLOCK: Final = (
    r"(?:(?:T|t|,?[ ]*(?:(?:at|um|à)[ ])?|[ _-]|[ ]-[ ])(?P<H>\d{1,2})"
    r"(?:[:.hH]?(?P<M>\d{2})(?:[:.]?(?P<S>\d{2})(?:[.,:](?P<f>\d{1,9}))?)?)?"
    r"(?:[ -]?(?P<ap>[AaPp])\.?[Mm]\.?)?(?:[ ]Uhr)?)?"
    r"(?:[ ]?(?P<z>Z|z|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}:?\d{2}|[+-]\d{2}|(?:UTC|GMT)[+-]\d{1,2})"
    r"(?:[ ](?:UTC|GMT|\([A-Za-z ]*\))|\[[A-Za-z_/]+\])?)?$"
)
_REWRITTEN: Final = {
    # 2026-03-01-00-05 is five past midnight, and no midnight five hours west of UTC.
    r"^(\d{4}-\d{2}-\d{2})[-_ T](\d{2})-(\d{2})$": r"\1 \2:\3",
    r"^(\d{4}-\d{2}-\d{2})[-_ T](\d{2})-(\d{2})-(\d{2})$": r"\1 \2:\3:\4",
    r"^(\d{1,2}:\d{2}(?::\d{2})?),?[ ]+(\S.*)$": r"\2 \1",  # the time of day first
}
_WORD: Final = r"[A-Za-z\x{80}-\x{10ffff}]"  # of letters alone it would be three times slower
_MON: Final = rf"(?P<mon>{_WORD}+)\.?"
_WEEKDAY: Final = rf"^(?:{_WORD}+\.?,?[ ])?"
_YEAR_FIRST: Final = "year-first"
_FORMATS: Final[Mapping[str, str]] = {
    _YEAR_FIRST: _WEEKDAY + r"(?P<a>\d{4})[-/. ](?P<b>\d{1,2})[-/. ](?P<c>\d{1,2})" + _CLOCK,
    "compact": r"^(?P<a>\d{4})(?P<b>\d{2})(?P<c>\d{2})" + _CLOCK,
    "numbers": _WEEKDAY
    + r"(?P<a>\d{1,2})[-/. ](?P<b>\d{1,2})[-/. ](?P<c>\d{4}|\d{2})" + _CLOCK,
    "day-month": _WEEKDAY + r"(?P<a>\d{1,2})(?:st|nd|rd|th|er)?[-/., ]+(?:de[ ])?" + _MON
    + r"[-/., ]+(?:de[ ])?(?P<c>\d{4}|\d{2})" + _CLOCK,
    "month-day": _WEEKDAY + _MON
    + r"[-/. ]+(?P<a>\d{1,2})(?:st|nd|rd|th)?,?[-/ ]+(?P<c>\d{4})" + _CLOCK,
    "ctime": _WEEKDAY + _MON + r"[ ]+(?P<a>\d{1,2})[ ]+(?P<H>\d{2}):(?P<M>\d{2}):(?P<S>\d{2})"
    r"[ ](?P<c>\d{4})$",
}  # fmt: skip
# Positions of year, month and day in a date of three numbers.
_ORDERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "day-first": ("c", "b", "a"), "month-first": ("c", "a", "b"), _YEAR_FIRST: ("a", "b", "c"),
}  # fmt: skip
_OPTIONS: Final = {"day-first": "--day-first", "month-first": "--month-first"}
_MOST_SWAPPED: Final = 0.1
_SWAPPED: Final = "year-day-month"
END_OF_DAY: Final = "24:00 read as the end of its day"


class Dates(NamedTuple):
    """Times as ms since 1970, of UTC if `zoned` and else local; 0 where not known.

    `t` and `known` have the shape (rows,).
    """

    t: Ints
    known: Bools
    zoned: bool
    notes: list[str]


def read_dates(path: str, name: str, column: Any, wanted: Wanted) -> Dates:
    """Read dates in text.

    Args:
        path: The file, for messages.
        name: Name of the column, for messages.
        column: Arrow array of text.
        wanted: What a person says of the dates.

    Raises:
        BadInput: If no format fits, or the order of day and month is not sure.
    """
    import pyarrow.compute as pc  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    column = pc.utf8_trim_whitespace(column)
    if (iso := _iso(column)) is not None:
        return iso
    column = pc.replace_substring_regex(column, "[\u00a0\u202f]", " ")
    for pattern, plain in _REWRITTEN.items():
        column = pc.replace_substring_regex(column, pattern, plain)
    counts = {
        form: pc.sum(pc.match_substring_regex(column, pattern)).as_py() or 0
        for form, pattern in _FORMATS.items()
    }
    form = max(counts, key=lambda form: counts[form])
    if not counts[form]:
        shown = printable(next((v for v in column.slice(0, 100).to_pylist() if v), ""))
        raise BadInput(
            f"{path}: {name} {shown!r} is no date that is understood: "
            "write it like 2026-03-01 00:05"
        )
    others = [f for f, count in counts.items() if count and f not in {form, "compact"}]
    if others:
        raise BadInput(f"{path}: {name} has dates of two formats: write one for all rows")
    return _parsed(path, name, column, form, wanted)


def _iso(column: Any) -> Dates | None:
    """Read ISO text, the usual case, in one go; None if a row is anything else."""
    import pyarrow as pa  # noqa: PLC0415 - see read_dates

    for zone in (None, "UTC"):
        if (stamps := converted(column, pa.timestamp("ns", zone))) is None:
            continue
        t = stamps.cast(pa.int64()).to_numpy().astype(np.int64) // 1_000_000
        return Dates(t, (t >= _FIRST_MS) & (t < _LAST_MS), zone is not None, [])
    return None


class _Parts(NamedTuple):
    """What was read of dates, shape (rows,) each.

    `days` has days since 1970 for each order of day and month, NaN where there is no such date;
    `clock_ms` has the time of day less the offset of the zone. `hour_24` marks 24:00 and later,
    `past_24` later alone.
    """

    matched: Bools
    zoned: Bools
    hour_24: Bools
    past_24: Bools
    clock_ms: Any
    days: Mapping[str, Any]


def _parsed(path: str, name: str, column: Any, form: str, wanted: Wanted) -> Dates:
    parts = _parts(column, form)
    zoned = bool(parts.zoned.any())
    order = ""
    if zoned and not parts.zoned[parts.matched].all():
        raise BadInput(
            f"{path}: some times of {name} carry a zone and some do not: write it in all"
        )
    if form == "numbers":
        order = _order(path, name, column, parts, wanted)
    elif form == _YEAR_FIRST and _is_swapped(parts):
        order = _SWAPPED
    t = parts.days[order].astype(np.float64) * DAY_MS + parts.clock_ms
    known = parts.matched & np.isfinite(t)
    judged = order and len({days[known].tobytes() for days in parts.days.values()}) > 1
    notes = [f"read as {order}"] if judged else []
    if (parts.hour_24 & known).any():
        t, note = _with_hour_24(path, name, t, parts, known)
        notes.append(note)
    return Dates(np.where(known, t, 0).astype(np.int64), known, zoned, notes)


def _with_hour_24(path: str, name: str, t: Any, parts: _Parts, known: Bools) -> tuple[Any, str]:
    """Judge whether 24:00 is the end of its day or, where hours run from 1 to 24, its beginning.

    Browsers write the latter for midnight. The order of the rows tells which.
    """
    begins = np.where(parts.hour_24, t - DAY_MS, t)
    in_order = {}
    for key, times in (("end", t[known]), ("beginning", begins[known])):
        steps = np.diff(times)
        in_order[key] = bool(np.all(steps >= 0) or np.all(steps <= 0))
    if (parts.past_24 & known).any() or in_order == {"end": False, "beginning": True}:
        return begins, "24:00 read as the beginning of its day"
    if in_order == {"end": True, "beginning": False}:
        return t, END_OF_DAY
    raise BadInput(
        f"{path}: 24:00 of {name} may be the beginning or the end of its day: "
        "write it as 00:00 of the day that it begins"
    )


def _parts(column: Any, form: str) -> _Parts:
    """Take dates apart, piece by piece to save memory."""
    pieces = [
        _piece(column.slice(begin, _PIECE), form) for begin in range(0, max(len(column), 1), _PIECE)
    ]
    matched, zoned, hour_24, past_24, clock_ms = (
        np.concatenate([piece[i] for piece in pieces]) for i in range(5)
    )
    days = {key: np.concatenate([piece.days[key] for piece in pieces]) for key in pieces[0].days}
    return _Parts(matched, zoned, hour_24, past_24, clock_ms, days)


def _piece(column: Any, form: str) -> _Parts:
    import pyarrow.compute as pc  # noqa: PLC0415 - see read_dates

    found = pc.extract_regex(column, _FORMATS[form])
    found = found.combine_chunks() if hasattr(found, "combine_chunks") else found
    matched = np.asarray(found.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    fields = dict(zip([f.name for f in found.type], found.flatten(), strict=True))
    numbers = {key: _READERS.get(key, _whole)(values) for key, values in fields.items()}
    zoned = np.zeros(len(matched), dtype=np.bool_)
    if "z" in fields:
        has_zone = pc.fill_null(pc.not_equal(fields["z"], ""), False)  # noqa: FBT003 - pyarrow's way
        zoned = np.asarray(has_zone.to_numpy(zero_copy_only=False), dtype=np.bool_)
    if form == "numbers":
        orders = _ORDERS
    elif "mon" in fields:
        orders = {"": ("c", "mon", "a")}
    else:
        orders = {"": ("a", "b", "c"), _SWAPPED: ("a", "c", "b")}
    # Days fit a float32 exactly, and a column may have millions of them.
    days = {
        order: _days(*(numbers[key] for key in keys)).astype(np.float32)
        for order, keys in orders.items()
    }
    hour_24 = numbers["H"] == 24  # noqa: PLR2004
    past_24 = hour_24 & (sum(np.nan_to_num(numbers[key]) for key in "MSf" if key in numbers) > 0)
    return _Parts(matched, zoned, hour_24, past_24, _clock_ms(numbers), days)


def _is_swapped(parts: _Parts) -> bool:
    """Return whether days above 12 prove that dates are written year, day, month."""
    usual, swapped = (np.isfinite(parts.days[order][parts.matched]) for order in ("", _SWAPPED))
    return bool(swapped.all() and np.mean(~usual) > _MOST_SWAPPED)


def _whole(values: Any) -> Any:
    """Return groups of digits as numbers, NaN for empty ones."""
    import pyarrow as pa  # noqa: PLC0415 - see read_dates
    import pyarrow.compute as pc  # noqa: PLC0415 - see read_dates

    present = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return present.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _looked_up(values: Any, number: Any) -> Any:
    """Return a number for each distinct text, of which there are few."""
    encoded = values.fill_null("").dictionary_encode()
    table = np.array([number(text) for text in encoded.dictionary.to_pylist()], dtype=np.float64)
    return table[encoded.indices.to_numpy(zero_copy_only=False)]


def _fraction_ms(text: str) -> float:
    return int(text.ljust(9, "0")) // 1_000_000 if text else np.nan


def month(text: str) -> float:
    """Return the number of the month that a word names; NaN if it names none, or may name two."""
    word = folded(text)  # whole or cut, such as `Mär`; `jui` may be June or July
    found = [i for i, names in enumerate(_MONTHS, 1) if any(n.startswith(word) for n in names)]
    return found[0] if len(found) == 1 and len(word) > 2 else np.nan  # noqa: PLR2004 - as `mai`


def _offset_ms(text: str) -> float:
    digits = "".join(filter(str.isdigit, text))
    digits = digits.zfill(2).ljust(4, "0")  # +1, +01 and +0100
    ms = int(digits[:2]) * HOUR_MS + int(digits[2:]) * MINUTE_MS
    return -ms if "-" in text else ms


def _half(text: str) -> float:
    return {"a": 0.0, "p": 12.0}.get(text.lower(), np.nan)


_READERS: Final[Mapping[str, Any]] = {
    "f": lambda values: _looked_up(values, _fraction_ms),
    "mon": lambda values: _looked_up(values, month),
    "z": lambda values: _looked_up(values, _offset_ms),
    "ap": lambda values: _looked_up(values, _half),
}


def _days(year: Any, month: Any, day: Any) -> Any:
    """Return days since 1970, NaN where there is no such date or it is out of range."""
    year = np.where(year < 100, year + 2000, year)  # noqa: PLR2004 - two digits
    fine = (month >= 1) & (month <= 12) & (day >= 1)  # noqa: PLR2004
    fine &= (year >= _FIRST_YEAR) & (year < _LAST_YEAR)
    months = np.where(fine, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    first = months.astype("datetime64[D]").astype(np.int64)
    length = (months + 1).astype("datetime64[D]").astype(np.int64) - first
    return np.where(fine & (day <= length), first + day - 1, np.nan)


def _clock_ms(numbers: Mapping[str, Any]) -> Any:
    """Return the time of day less the offset of its zone, ms; NaN where there is no such time."""
    hour, minute, second, fraction, offset = (
        np.nan_to_num(numbers[key]) if key in numbers else 0.0 for key in ("H", "M", "S", "f", "z")
    )
    fine = (hour <= 24) & (minute < 60) & (second < 60)  # noqa: PLR2004
    if "ap" in numbers and np.isfinite(half := numbers["ap"]).any():
        fine &= ~np.isfinite(half) | ((hour >= 1) & (hour <= 12))  # noqa: PLR2004
        hour = np.where(np.isfinite(half), hour % 12 + np.nan_to_num(half), hour)
    ms = hour * HOUR_MS + minute * MINUTE_MS + second * 1000 + fraction - offset
    return np.where(fine, ms, np.nan)


def _order(path: str, name: str, column: Any, parts: _Parts, wanted: Wanted) -> str:
    """Return the order of day and month of a whole column."""
    rows = parts.matched
    if wanted.day_first is not None:
        order = "day-first" if wanted.day_first else "month-first"
        wrong = rows & ~np.isfinite(parts.days[order])
        if wrong.any():
            shown = column.filter(_mask(wrong))[0].as_py()
            raise BadInput(f"{path}: {name} {shown!r} is no date with {_OPTIONS[order]}")
        return order
    possible = {order: d[rows] for order, d in parts.days.items() if np.isfinite(d[rows]).all()}
    shown = column.filter(_mask(rows))[0].as_py()
    if not possible:
        raise BadInput(
            f"{path}: {name} ({shown!r} and others) is no column of dates of one order: "
            "write dates such as 2026-03-01 00:05"
        )
    if len({days.tobytes() for days in possible.values()}) > 1:
        options = " or ".join(_OPTIONS[order] for order in possible if order in _OPTIONS)
        raise BadInput(
            f"{path}: {name} {shown!r} may begin with the day or the month; say {options}"
        )
    return next(iter(possible))


def _mask(rows: Bools) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - see read_dates

    return pa.array(rows)
