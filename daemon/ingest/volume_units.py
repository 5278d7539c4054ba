"""Judge whether the volume of a table counts coins, or contracts or dollars, by its other columns.

Exchanges of futures count contracts, and others call the turnover in dollars the volume. Beside it
they write another volume, and two volumes of which one is the other times the price tell the unit.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from daemon.ingest.tables.columns import MAY_COUNT, Columns, folded
from daemon.ingest.tables.reading import Bools, Floats, RawTable, Wanted, converted
from daemon.store.bar_columns import BarColumns
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS

_LOOK: Final = 2000  # rows
_ENOUGH: Final = 5
_MOSTLY: Final = 0.9
_ROUNDING: Final = 0.005
_POWERS: Final = range(-8, 9)
# A heading or the folded name of a column as Yahoo's files have them.
_YAHOO: Final = re.compile(r"^adjclose$|^dividends$|^stocksplits$|ticker.*-usd\b", re.IGNORECASE)
# All venues together trade less than a tenth of it, of all coins.
_MOST_DOLLARS_A_DAY: Final = 1e13


def volume_trouble(table: RawTable, coin: str) -> str:
    """Return a sentence on a table that has no column for the volume."""
    others = [name for name in table.names if MAY_COUNT.search(folded(name))]
    units = f": {', '.join(others)} counts something else than {coin or 'coins'}" if others else ""
    return (
        f"{table.path} has no column for the volume{units}; there are {table.listed()}: "
        "name it with --columns volume=NAME"
    )


def require_coins(
    table: RawTable, columns: Columns, values: Mapping[str, Floats], good: Bools, wanted: Wanted
) -> None:
    """Raise if other columns prove that the volume does not count coins.

    Args:
        table: Has the other columns.
        columns: The columns with a role.
        values: high, low and volume by name, shape (rows,) each.
        good: The rows that are not left out, shape (rows,).
        wanted: The coin; a volume that a person names is taken as it is.

    Raises:
        BadInput: With the column that counts coins, if there is one.
    """
    if "volume" in wanted.columns:
        return
    _require_no_yahoo(table, columns.values["volume"], values["volume"][good], wanted)
    rows = np.flatnonzero(good)[:_LOOK]
    low, high, volume = (values[name][rows] for name in ("low", "high", "volume"))
    others = _others(table, columns, rows)

    def price(over: Floats, under: Floats) -> int | None:
        return _power(over, under, low, high)

    if any(price(other, volume) == 0 for other in others.values()):
        return
    name, coin = columns.values["volume"], wanted.coin or "coins"
    for other, counts in others.items():
        is_coins = any(price(dollars, counts) == 0 for dollars in others.values())
        if price(volume, counts) is not None or (is_coins and _is_multiple(volume, counts)):
            raise BadInput(
                f"{table.path}: {name} counts contracts or dollars, and {other} counts {coin}: "
                f"say --columns {_said(table, columns, other)}"
            )
        power = price(counts, volume)
        if power is not None and np.all(volume % 1 == 0):  # else the dollars are in thousands
            raise BadInput(
                f"{table.path}: {name} counts contracts of {10.0**power:g} {coin}, by its {other}: "
                f"write it in {coin}"
            )


def _require_no_yahoo(table: RawTable, name: str, volume: Floats, wanted: Wanted) -> None:
    """Raise if bars are of Yahoo, which counts the dollars that were traded, in whole numbers."""
    volume = volume[np.isfinite(volume)]
    headings = [*table.words, *(folded(each) for each in table.all_names or table.names)]
    if any(map(_YAHOO.search, headings)) and volume.any() and np.all(volume % 1 == 0):
        raise BadInput(
            f"{table.path}: {name} counts dollars, as Yahoo does: write it in "
            f"{wanted.coin or 'coins'}, or say --columns volume={name} if it counts them"
        )


def require_possible(path: str, bars: BarColumns, interval_ms: int, wanted: Wanted) -> None:
    """Raise if the bars are worth more dollars than are traded anywhere.

    Raises:
        BadInput: With what the volume may count.
    """
    if len(bars) < _ENOUGH or "volume" in wanted.columns:
        return
    dollars = float(np.median(bars.volume * bars.close)) * DAY_MS / interval_ms
    if dollars > _MOST_DOLLARS_A_DAY:
        coin = wanted.coin or "coins"
        raise BadInput(
            f"{path}: its volume times its price is {dollars:.2g} dollars a day, so it counts "
            f"dollars or contracts: write it in {coin}, or name the column that has it with "
            "--columns volume=NAME"
        )


def _said(table: RawTable, columns: Columns, volume: str) -> str:
    """Return what `--columns` must say for the volume; without a header it says all of them."""
    if not any(note.startswith("no header") for note in table.notes):
        return f"volume={volume}"
    roles = {"date": columns.day, "time": columns.times[0], **columns.values, "volume": volume}
    numbers = {role: table.names.index(name) + 1 for role, name in roles.items() if name}
    return ",".join(f"{role}={number}" for role, number in numbers.items())


def _others(table: RawTable, columns: Columns, rows: Any) -> dict[str, Floats]:
    """Return the columns of numbers that may count what was traded too."""
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    found: dict[str, Floats] = {}
    taken = {*columns.values.values(), *columns.times, *columns.closes}
    for name in table.names:
        if name in taken or not (name.isdecimal() or MAY_COUNT.search(folded(name))):
            continue
        numbers = converted(table.column(name).take(pa.array(rows)), pa.float64())
        if numbers is not None:
            found[name] = np.asarray(numbers.to_numpy(), dtype=np.float64)
    return found


def _is_multiple(one: Floats, other: Floats) -> bool:
    """Return whether one volume is another times the same number in nearly all rows."""
    with np.errstate(invalid="ignore"):
        both = (one > 0) & (other > 0)
    if both.sum() < _ENOUGH:
        return False
    least, most = np.quantile(one[both] / other[both], [(1 - _MOSTLY) / 2, (1 + _MOSTLY) / 2])
    return bool(most <= least * (1 + 2 * _ROUNDING) and abs(least - 1) > _ROUNDING)


def _power(over: Floats, under: Floats, low: Floats, high: Floats) -> int | None:
    """Return k if one volume is another times the price times 10**k; None if it is not."""
    with np.errstate(invalid="ignore"):
        both = (over > 0) & (under > 0) & np.isfinite(over) & np.isfinite(under)
    if both.sum() < max(_ENOUGH, len(over) // 2):
        return None
    ratio, low, high = over[both] / under[both], low[both], high[both]
    if ratio.max() <= ratio.min() * (1 + 1e-6):
        return None  # the same in another unit, whatever the price
    for power in _POWERS:
        least, most = low * 10.0**power * (1 - _ROUNDING), high * 10.0**power * (1 + _ROUNDING)
        if np.mean((ratio >= least) & (ratio <= most)) >= _MOSTLY:
            return power
    return None
