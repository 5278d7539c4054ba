"""Read settled funding rates from files of other programs, as hourly fractions."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import Funding
from daemon.ingest.tables import identity, rate_units, repeats
from daemon.ingest.tables.columns import (
    FUNDING_HOURS,
    OPEN_TIMES,
    OWN_MONEY,
    Columns,
    assign,
    folded,
    names_rate,
)
from daemon.ingest.tables.files import read_table
from daemon.ingest.tables.number_text import plain_signs, read_numbers
from daemon.ingest.tables.reading import (
    Floats,
    OnBytes,
    RawTable,
    RowSieve,
    TableReport,
    Wanted,
    converted,
)
from daemon.ingest.tables.row_times import row_times
from daemon.ingest.tables.unnamed import name_rate_columns
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import MINUTE_MS

_CANDLE: Final = ("open", "high", "low", "close")
_VENUES: Final = frozenset({"coin", "fundingRate", "premium", "time"})


@dataclass(frozen=True, slots=True)
class TableOfFunding:
    """Settled hourly rates of a file, ascending: `time` in ms UTC and `rate`, shape (n,) each."""

    time: NDArray[np.int64]
    rate: Floats
    report: TableReport

    def rates(self) -> list[Funding]:
        """Return the rates as a list."""
        return [Funding(*row) for row in zip(self.time.tolist(), self.rate.tolist(), strict=True)]


def read_funding(
    path: Path | str, wanted: Wanted | None = None, on_bytes: OnBytes = lambda _: None
) -> TableOfFunding:
    """Read funding rates from a file; times are not rounded, rates are scaled to the hour.

    Rows of other coins, rates above the venue's cap and rates of the future are left out.

    Args:
        path: The file; its content tells the format.
        wanted: The coin, and what a person says of the columns; None takes rows of any coin.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If the file cannot be read, the unit of its rates is not sure, it holds
            payments of a person, rows of one time differ, or no row is usable.
    """
    path, wanted = Path(path), wanted or Wanted()
    table = read_table(path, wanted, on_bytes)
    if not table.header:
        name_rate_columns(table, wanted)
    columns = assign(table, wanted)
    _refuse_payments(table)
    sieve = RowSieve(table.path, table.rows, table.lost)
    _sift_coin(path, table, columns, wanted, sieve)
    name = _rate_column(table, columns, wanted)
    _take_settlements(table, columns)
    times = row_times(table, columns, wanted, sieve)
    sieve.drop(times.t > wanted.now_ms, "in the future")
    sieve.require("settled rate")
    raw, percent_signs, notes = _numbers(table, name, wanted, sieve)
    hours = None if wanted.rate else _row_hours(table, columns)
    sure = hours is not None or set(table.names) >= _VENUES
    unit = _unit(table, name, wanted, times.t[sieve.good], percent_signs=percent_signs, sure=sure)
    notes = [*table.notes, *times.notes, *notes, *unit.notes]
    if hours is not None:
        sieve.drop(~np.isfinite(hours), "without the hours of its rate", bad=True)
        sieve.require("settled rate")
        notes.append("rates for the hours that their rows say, scaled to the hour")
    rate_units.require_settled(table.path, times.t[sieve.good])
    factor = unit.scale * (unit.hours if hours is None else hours)
    rate = raw if np.all(factor == 1) else raw / factor
    is_venues = bool(wanted.rate) or set(table.names) >= _VENUES
    rate_units.require_plausible(table.path, name, rate[sieve.good], sure=is_venues)
    sieve.drop(np.abs(rate) > rate_units.CAP, "above the venue's cap of 4 % an hour", bad=True)
    sieve.require("settled rate")
    none = np.zeros(len(rate), dtype=np.int64)
    # One that is written by two programs may differ by milliseconds.
    minutes = (times.t + MINUTE_MS // 2) // MINUTE_MS * MINUTE_MS
    rows = repeats.distinct_rows(sieve, minutes, {"rate": rate}, none, states=False)
    return TableOfFunding(times.t[rows], rate[rows], sieve.report(len(rows), notes))


def _numbers(
    table: RawTable, name: str, wanted: Wanted, sieve: RowSieve
) -> tuple[Floats, bool, list[str]]:
    """Return the rates as written, whether they have percent signs, and what was judged."""
    column, percent_signs = _without_percent(table.column(name))
    values, notes = read_numbers(table.path, {name: column}, wanted.decimal)
    sieve.drop(~np.isfinite(values[name]), "whose rate is not a number", bad=True)
    sieve.require("settled rate")
    return values[name], percent_signs, notes


def _unit(
    table: RawTable,
    name: str,
    wanted: Wanted,
    t: NDArray[np.int64],
    *,
    percent_signs: bool,
    sure: bool,
) -> rate_units.RateUnit:
    """Return what a rate is; rows that say their hours need no regular times."""
    if wanted.rate:
        return rate_units.said_unit(wanted.rate)
    apart = None if sure else rate_units.hours_apart(table.path, t)
    return rate_units.judged_unit(table.path, name, apart, percent_signs=percent_signs, sure=sure)


def _refuse_payments(table: RawTable) -> None:
    """Raise if a table has payments of a person, whose rates are shown rounded or not at all."""
    own = [
        name
        for name in table.all_names or table.names
        if folded(name) in OWN_MONEY or folded(re.sub(r"[(\[].*", "", name)) in OWN_MONEY
    ]
    if own and not set(table.names) >= _VENUES:
        raise BadInput(
            f"{table.path} holds payments of a person ({', '.join(own[:4])}), no settled rates: "
            "import the coin's funding history"
        )


def _sift_coin(
    path: Path, table: RawTable, columns: Columns, wanted: Wanted, sieve: RowSieve
) -> None:
    here, others, proved = identity.of_coin(table, columns, wanted.coin)
    sieve.drop(~here, f"of other coins ({', '.join(others[:4])})")
    if not sieve.good.any() and others:
        raise BadInput(
            f"{table.path} is of {', '.join(others[:4])}, not {wanted.coin}: "
            "if that is a name of it, say --columns coin="
        )
    said = [*table.words, table.says.get("", "")]
    if wanted.coin and not proved and (other := identity.name_says(path, said, wanted.coin)):
        raise BadInput(
            f"{table.path} names {other}, not {wanted.coin}: give it with that --coin, or rename it"
        )


def _rate_column(table: RawTable, columns: Columns, wanted: Wanted) -> str:
    """Return the column of the rates; freqtrade writes them as the opens of candles."""
    if "rate" in wanted.columns:
        return columns.values["rate"]
    rates: dict[tuple[bool, bool], list[str]] = {}
    for name in filter(names_rate, table.names):
        # Beside what was settled OKX has what was foreseen, and Kraken dollars for a contract.
        is_sure = re.search("reali|relative", name, re.IGNORECASE) is not None
        has_unit = rate_units.RATE_UNIT.search(rate_units.spaced(name)) is not None
        rates.setdefault((has_unit, not is_sure), []).append(name)
    if rates:
        best = rates[min(rates)]
        if len(best) > 1:
            raise BadInput(
                f"{table.path}: each of {', '.join(best)} may be the rate: "
                "say which with --columns rate=NAME"
            )
        return best[0]
    if not all(name in columns.values for name in _CANDLE):
        raise BadInput(
            f"{table.path} has no column for the rate; there are {table.listed()}: "
            "name it with --columns rate=NAME"
        )
    others = {name: table.column(columns.values[name]) for name in _CANDLE[1:]}
    numbers, _ = read_numbers(table.path, others)
    if any(np.nan_to_num(column).any() for column in numbers.values()):
        raise BadInput(f"{table.path} holds candles, no rates: leave out --kind funding")
    table.notes.append("rates from open, as freqtrade writes them")
    return columns.values["open"]


def _take_settlements(table: RawTable, columns: Columns) -> None:
    """Take times of settlement, not those at which the hours of a rate begin.

    Raises:
        BadInput: If there are only the latter, and nobody says that they are the time.
    """
    begins = [name for name in columns.times if folded(name) in OPEN_TIMES]
    if columns.time_said or not begins:
        return
    columns.times = [name for name in columns.times if name not in begins]
    if not columns.times and not columns.closes:
        raise BadInput(
            f"{table.path}: {begins[0]} is when the hours of a rate begin, and it is settled when "
            "they end: name the time of settlement with --columns time=NAME"
        )


def _without_percent(column: Any) -> tuple[Any, bool]:
    """Return a column without percent signs, and whether all its values had one."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it
    import pyarrow.compute as pc  # noqa: PLC0415 - see above

    if not pa.types.is_string(column.type):
        return column, False
    column = plain_signs(column)
    signs = pc.match_substring_regex(column, r"^\s*[-+]?[0-9.,eE+-]+\s*%\s*$")
    if not pc.any(signs).as_py():
        return column, False
    bare = pc.replace_substring_regex(column, r"\s*%\s*$", "")
    return pc.if_else(signs, bare, pa.scalar(None, pa.string())), True


def _row_hours(table: RawTable, columns: Columns) -> Floats | None:
    """Return the hours of each row's rate, shape (rows,); None if no column says them."""
    import pyarrow as pa  # noqa: PLC0415 - see _without_percent

    said = [name for name in table.names if folded(name) in FUNDING_HOURS] or columns.intervals
    if not said:
        return None
    hours = identity.row_intervals(table.column(said[0]))
    if hours is None and said[0] not in columns.intervals:
        numbers = converted(table.column(said[0]), pa.float64())
        hours = None if numbers is None else np.asarray(numbers.to_numpy())
    return None if hours is None else rate_units.hours_of_rows(hours)
