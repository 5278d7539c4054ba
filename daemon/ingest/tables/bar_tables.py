"""Read candles from files of other programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np

from daemon.core.bars import BAR_RULES
from daemon.ingest.tables import identity, repeats, spacing
from daemon.ingest.tables.columns import Columns, assign, value_role
from daemon.ingest.tables.dates import END_OF_DAY
from daemon.ingest.tables.files import read_table
from daemon.ingest.tables.number_text import read_numbers
from daemon.ingest.tables.reading import (
    Bools,
    Floats,
    Ints,
    OnBytes,
    RawTable,
    RowSieve,
    TableReport,
    Wanted,
    converted,
    printable,
)
from daemon.ingest.tables.row_times import RowTimes, row_times
from daemon.ingest.tables.unnamed import name_bar_columns
from daemon.ingest.volume_units import require_coins, require_possible, volume_trouble
from daemon.store.bar_columns import BarColumns
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import INTERVAL_MS

PRICES: Final = ("open", "high", "low", "close")
COLUMNS: Final = (*PRICES, "volume")
# More crossed rows than this say that the columns are others than they seem.
_MOST_CROSSED, _MOST_CROSSED_UNNAMED = 0.5, 0.02
_TRUE: Final = frozenset({"true", "1", "1.0", "yes", "t"})
_TRUTHS: Final = _TRUE | {"false", "0", "0.0", "no", "f", "none", "", "nan"}


@dataclass(frozen=True, slots=True)
class TableOfBars:
    """Candles of a file.

    Attributes:
        bars: The candles; n is 0 where the file does not say.
        interval_ms: Length of a bar, ms.
        report: Counts of the rows.
    """

    bars: BarColumns
    interval_ms: int
    report: TableReport


def read_bars(
    path: Path | str, wanted: Wanted | None = None, on_bytes: OnBytes = lambda _: None
) -> TableOfBars:
    """Read candles from a file of any shape that is recognised, or that a person describes.

    Rows of other coins and intervals, rows with impossible numbers, off the grid and not closed
    yet are left out and counted. Shorter bars are joined to the wanted interval.

    Args:
        path: The file; its content tells the format.
        wanted: The coin and interval, and what a person says of the columns; None takes every
            coin and the interval of the rows.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If the file cannot be read, a column or a unit is not sure, rows of one time
            differ, the file is of another coin or interval, or no row is usable.
    """
    path, wanted = Path(path), wanted or Wanted()
    table = read_table(path, wanted, on_bytes)
    has_header, states = table.header, table.states
    if not has_header:
        name_bar_columns(table, wanted)
    columns = assign(table, wanted)
    _require_columns(table, columns, wanted)
    sieve = RowSieve(table.path, table.rows, table.lost)
    said_ms = _sift_identity(path, table, columns, wanted, sieve)
    _drop_unclosed(table, columns, sieve)
    times = row_times(table, columns, wanted, sieve)
    _require_sure_end(table.path, times, wanted)
    if said_ms is None and times.lengths is not None:
        said_ms = _sift_lengths(times.lengths, wanted.interval_ms, sieve)
    texts = {name: table.column(columns.values[name]) for name in COLUMNS}
    values, judged = read_numbers(table.path, texts, wanted.decimal, table.separator)
    _require_one_header(table.path, texts, values)
    del texts
    n = _counts(table, columns)
    require_coins(table, columns, values, sieve.good, wanted)
    _release(table)
    rows = {"t": times.t, "n": n, **values}
    _sift_values(table.path, rows, sieve, has_header=has_header)
    del rows
    sieve.require("usable candle")
    notes = [*table.notes, *columns.notes, *times.notes, *judged]
    return _made(path, wanted, sieve, _Rows(times, values, n, said_ms, states), notes)


def _release(table: RawTable) -> None:
    """Give back the memory of the raw columns, which are larger than the numbers in them."""
    import pyarrow as pa  # noqa: PLC0415 - see _drop_unclosed

    table.columns.clear()
    pa.default_memory_pool().release_unused()


def _require_columns(table: RawTable, columns: Columns, wanted: Wanted) -> None:
    for name in PRICES:
        if name not in columns.values:
            hint = "; it holds rates: say --kind funding" if "rate" in columns.values else (
                f": name it with --columns {name}=NAME"
            )  # fmt: skip
            raise BadInput(
                f"{table.path} has no column for {name}; there are {table.listed()}{hint}"
            )
    if "volume" not in columns.values:
        raise BadInput(volume_trouble(table, wanted.coin))


def _sift_identity(
    path: Path, table: RawTable, columns: Columns, wanted: Wanted, sieve: RowSieve
) -> int | None:
    """Leave out rows of other coins and intervals; return the interval that rows say, ms."""
    here, others, proved = identity.of_coin(table, columns, wanted.coin)
    sieve.drop(~here, f"of other coins ({', '.join(others[:4])})")
    if not sieve.good.any() and others:
        raise BadInput(
            f"{table.path} is of {', '.join(others[:4])}, not {wanted.coin}: "
            "if that is a name of it, say --columns coin="
        )
    if wanted.coin and not proved:
        key = [table.says[""]] if "" in table.says else []
        if other := identity.name_says(path, [*table.words, *key], wanted.coin):
            raise BadInput(
                f"{table.path} names {other}, not {wanted.coin}: give it with that --coin, "
                "or rename it"
            )
    rows, said_ms, names = identity.of_interval(table, columns, wanted.interval_ms)
    sieve.drop(~rows, f"of other intervals ({', '.join(names[:4])})")
    return said_ms


def _require_sure_end(path: str, times: RowTimes, wanted: Wanted) -> None:
    """Raise if times have 24:00, which no open has, where nothing else says which end they name."""
    sure = times.is_close or times.lengths is not None or wanted.stamp
    if END_OF_DAY in times.notes and not sure:
        raise BadInput(
            f"{path}: {times.name} has 24:00, so it may be the close of a bar: "
            "say --stamp close or --stamp open"
        )


def _sift_lengths(lengths: Ints, wanted_ms: int | None, sieve: RowSieve) -> int | None:
    """Leave out bars of other lengths by their open and close; return the length that is left.

    Args:
        lengths: How long bars are, ms, shape (rows,).
        wanted_ms: The interval that is wanted; None takes all rows.
        sieve: Takes the rows that are left out.
    """
    known = set(np.unique(lengths[sieve.good]).tolist()) & set(INTERVAL_MS.values())
    if wanted_ms not in known or len(known) == 1:
        return None
    others = ", ".join(spacing.interval_text(ms) for ms in sorted(known - {wanted_ms}))
    sieve.drop(np.isin(lengths, list(known - {wanted_ms})), f"of other intervals ({others})")
    return wanted_ms


def _drop_unclosed(table: RawTable, columns: Columns, sieve: RowSieve) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    for name in columns.closed:
        texts = table.column(name).cast(pa.string()).to_pylist()
        if not {str(text).strip().lower() for text in texts} <= _TRUTHS:
            continue  # it says something else
        open_rows = [text is not None and text.strip().lower() not in _TRUE for text in texts]
        sieve.drop(np.array(open_rows, dtype=np.bool_), f"not closed yet by {name}")


def _require_one_header(path: str, texts: Mapping[str, Any], values: Mapping[str, Floats]) -> None:
    """Raise if a header between the rows names the columns in another order."""
    import pyarrow as pa  # noqa: PLC0415 - see _drop_unclosed

    for role, column in texts.items():
        none = np.isnan(values[role])
        if not none.any() or not pa.types.is_string(column.type):
            continue
        for word in column.filter(pa.array(none)).unique().to_pylist():
            if word is not None and value_role(word) not in {"", role}:
                raise BadInput(
                    f"{path} has a second header, whose columns have another order "
                    f"({printable(word)} is where {role} was): give a file for each"
                )


def _counts(table: RawTable, columns: Columns) -> Ints:
    """Return the number of trades of each bar, 0 where the table does not say."""
    import pyarrow as pa  # noqa: PLC0415 - see _drop_unclosed

    none: Ints = np.zeros(table.rows, dtype=np.int64)
    if "n" not in columns.values:
        return none
    column = converted(table.column(columns.values["n"]), pa.float64())
    if column is None:
        return none
    counts = np.asarray(column.to_numpy())
    fine = np.isfinite(counts) & (counts > 0) & (counts < 2**53)
    return np.where(fine, counts, 0).astype(np.int64)


def _sift_values(path: str, rows: dict[str, Any], sieve: RowSieve, *, has_header: bool) -> None:
    """Leave out rows that no bar can be, and refuse columns that cannot be what they seem.

    Args:
        path: The file, for messages.
        rows: t, n and the columns of prices and volume, shape (rows,) each.
        sieve: Takes the rows that are left out.
        has_header: Whether the file names its columns.
    """
    before, crossed = int(sieve.good.sum()), 0
    with np.errstate(invalid="ignore", over="ignore"):
        for name in COLUMNS:
            sieve.drop(~np.isfinite(rows[name]), f"whose {name} is not a number", bad=True)
        for why, is_so in BAR_RULES:
            lost = sieve.drop(np.asarray(is_so(SimpleNamespace(**rows))), f"where {why}", bad=True)
            crossed += lost if "outside" in why else 0
    if crossed > before * (_MOST_CROSSED if has_header else _MOST_CROSSED_UNNAMED):
        order = (
            "" if has_header else ", without a header, in the order time, open, high, low, close"
        )
        raise BadInput(
            f"{path}: open, high, low and close are other columns than they seem{order}: "
            f"{crossed} of {before} rows contradict ({sieve.first_bad}); "
            "say which they are with --columns time=1,open=2,..."
        )
    _require_volume(path, rows, sieve.good, has_header=has_header)


def _require_volume(path: str, rows: dict[str, Any], good: Bools, *, has_header: bool) -> None:
    """Raise if the volume of the rows that are left is none."""
    high, low, volume = (rows[name][good] for name in ("high", "low", "volume"))
    if len(volume) > 1 and (high > low).any() and not volume.any():
        raise BadInput(
            f"{path} has a volume of 0 in all rows although prices move: "
            "name the column that holds it with --columns volume=NAME"
        )
    within = (volume >= low) & (volume <= high)
    if not has_header and len(volume) > 1 and np.mean(within) > _MOST_CROSSED:
        raise BadInput(
            f"{path} has no header, and column 6 holds prices, no volume: "
            "say --columns time=1,open=2,... with their numbers"
        )


class _Rows(NamedTuple):
    """Values of all rows, shape (rows,) each, and what the file says of its bars."""

    times: RowTimes
    values: dict[str, Floats]
    n: Ints
    said_ms: int | None
    states: bool


def _made(
    path: Path, wanted: Wanted, sieve: RowSieve, found: _Rows, notes: list[str]
) -> TableOfBars:
    """Make bars of the rows that are left."""
    times, values, n, said_ms, states = found
    space = spacing.judge(
        sieve.path, times.name, times.t[sieve.good], wanted, said_ms, is_close=times.is_close
    )
    interval = wanted.interval_ms or space.step_ms
    if int(sieve.good.sum()) == 1 and said_ms is None:
        _require_named_interval(path, interval)
    spacing.require_fit(sieve.path, space.step_ms, interval)
    t = times.t + space.shift_ms
    off = sieve.drop(t % space.step_ms != 0, "off the grid of the interval", bad=True)
    if off > sieve.good.sum():
        raise BadInput(
            f"{path}: {off} rows of {times.name} lie off the grid of "
            f"{spacing.interval_text(space.step_ms)} ({sieve.first_bad}): name the column of opens "
            "with --columns time=NAME, or say --tz if they are local"
        )
    sieve.drop(t + space.step_ms > wanted.now_ms, "not closed yet")
    sieve.require("closed candle")
    rows = repeats.distinct_rows(sieve, t, values, n, states=states)
    picked = {name: values.pop(name)[rows] for name in COLUMNS}  # one by one: they are large
    bars = BarColumns(t[rows], n=n[rows], **picked)
    notes = [*notes, *space.notes]
    if space.step_ms < interval:
        bars = _joined(sieve, notes, bars, space.step_ms, interval)
    require_possible(sieve.path, bars, interval, wanted)
    return TableOfBars(bars, interval, sieve.report(len(bars), notes))


def _joined(
    sieve: RowSieve, notes: list[str], rows: BarColumns, step_ms: int, interval_ms: int
) -> BarColumns:
    made, incomplete = spacing.join(rows, step_ms, interval_ms)
    long, short = spacing.interval_text(interval_ms), spacing.interval_text(step_ms)
    whole = len(rows) - incomplete
    if incomplete:
        sieve.left_out[f"in {long} bars that are not whole"] += incomplete
    if not len(made):
        sieve.good[:] = False
        sieve.require(f"whole {long} bar of its {short} bars")
    notes.append(f"joined {short} to {long}: {whole} of {len(rows)} rows in {len(made)} bars")
    return made


def _require_named_interval(path: Path, interval_ms: int) -> None:
    """Raise if the name of a file with one bar says another interval."""
    said = identity.name_interval(path)
    if said is not None and said != interval_ms:
        text = spacing.interval_text(said)
        raise BadInput(
            f"{path} names {text} and holds one bar: say --interval {text}, or rename it"
        )
