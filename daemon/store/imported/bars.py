"""Put imports of bars over what is stored, and take them away again without a trace.

An import outranks what was pushed or filled in and every older import, as a whole; the venue's
confirmed bars outrank all imports. The copies that are not in force wait in `outranked_bars`.
"""

import sqlite3
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import Provenance
from daemon.store import bar_table
from daemon.store.bar_columns import BarColumns, Overlap, compare
from daemon.store.bar_merge import RANK, PutResult
from daemon.store.bar_table import COLUMNS
from daemon.store.database import Database
from daemon.store.imported.sources import Tally
from hyperdrift.slot_name import SlotName

# Memory holds the plain numbers of so many bars at once.
_CHUNK_BARS: Final = 50_000
_SPAN: Final = "coin = ? AND interval = ? AND t BETWEEN ? AND ?"
_FROM_SOURCES: Final = f"{_SPAN} AND source IN (SELECT value FROM json_each(?))"  # noqa: S608
_ALL: Final = (-(2**62), 2**62)


RunEnds = tuple[tuple[int, float], ...]
"""Open time, ms UTC, and close price of the last bar of each run of bars."""


def outlook(db: Database, slot: SlotName, bars: BarColumns) -> tuple[PutResult, Overlap]:
    """Compare bars with those in force, and count what importing them would do; write nothing."""
    counts, found = np.zeros(4, dtype=np.int64), Overlap()
    for part in _chunks(bars, slot.interval_ms):
        judged = _judge(bar_table.columns(db, slot, int(part.t[0]), int(part.t[-1])), part)
        counts, found = counts + judged.counts, found.joined(judged.overlap)
    return PutResult(*counts.tolist()), found


def put(
    db: Database, connection: sqlite3.Connection, slot: SlotName, bars: BarColumns, number: int
) -> tuple[PutResult, Overlap]:
    """Store the bars of the import that is newest; it has no rows stored yet.

    Args:
        db: The database, to read.
        connection: The transaction that writes.
        slot: Whose bars.
        bars: The bars.
        number: The number of the import, larger than any other's.
    """
    counts, found = np.zeros(4, dtype=np.int64), Overlap()
    for part in _chunks(bars, slot.interval_ms):
        judged = _judge(bar_table.columns(db, slot, int(part.t[0]), int(part.t[-1])), part)
        counts, found = counts + judged.counts, found.joined(judged.overlap)
        _cover(connection, slot, part.t[judged.stored & ~judged.confirmed])
        _insert(connection, "bars", slot, part.part(~judged.confirmed), number)
        _insert(connection, "outranked_bars", slot, part.part(judged.confirmed), number)
    return PutResult(*counts.tolist()), found


def count(db: Database, slot: SlotName, number: int) -> int:
    """Return how many rows of an import are stored, in force or not."""
    which = (*slot, *_ALL, f"[{number}]")
    return sum(
        int(db.read(f"SELECT count(*) FROM {table} WHERE {_FROM_SOURCES}", which)[0][0])  # noqa: S608
        for table in ("bars", "outranked_bars")
    )


def tally(db: Database, slot: SlotName) -> dict[int, Tally]:
    """Return by the number of each import what is stored of it."""
    found: dict[int, Tally] = {}
    for table in ("bars", "outranked_bars"):
        for number, rows, first, last in db.read(
            f"SELECT source, count(*), min(t), max(t) FROM {table}"  # noqa: S608
            " WHERE coin = ? AND interval = ? AND source > 0 GROUP BY source",
            slot,
        ):
            had = found.get(number, Tally(0, 0, first, last))
            ends = min(had.first_t or first, first), max(had.last_t or last, last)
            found[number] = Tally(had.rows + rows, had.in_force + rows * (table == "bars"), *ends)
    return found


def remove(
    connection: sqlite3.Connection,
    slot: SlotName,
    numbers: Collection[int],
    from_t: int,
    to_t: int,
) -> RunEnds:
    """Remove rows of imports between two open times; what they outranked is in force again.

    Returns:
        The ends of the runs of bars that were in force.
    """
    which = (*slot, from_t, to_t, msgspec.json.encode(list(numbers)).decode())
    ends = _run_ends(connection, slot, which)
    for table in ("outranked_bars", "bars"):
        connection.execute(f"DELETE FROM {table} WHERE {_FROM_SOURCES}", which)  # noqa: S608
    promote(connection, slot, from_t, to_t)
    return ends


def remove_impossible(
    db: Database, connection: sqlite3.Connection, slot: SlotName, from_t: int, to_t: int
) -> int:
    """Remove bars in force that no source can be right about; return how many.

    A bad disk, or an older version with other rules, may have left them.
    """
    bars = bar_table.columns(db, slot, from_t, to_t).bars
    broken = np.any([*bars.faults().values(), bars.t % slot.interval_ms != 0], axis=0)
    connection.executemany(
        "DELETE FROM bars WHERE coin = ? AND interval = ? AND t = ?",
        [(*slot, t) for t in bars.t[broken].tolist()],
    )
    promote(connection, slot, from_t, to_t)
    return int(broken.sum())


def promote(
    connection: sqlite3.Connection, slot: SlotName, from_t: int = _ALL[0], to_t: int = _ALL[1]
) -> None:
    """Put the best copy that waits in force wherever no bar is."""
    span = (*slot, from_t, to_t)
    same_bar = "bars.coin = o.coin AND bars.interval = o.interval AND bars.t = o.t"
    # With one max(), SQLite takes the other columns from the row that has it.
    connection.execute(
        "INSERT INTO bars SELECT coin, interval, t, open, high, low, close, volume, n, provenance,"  # noqa: S608
        f" revisions, max(source) FROM outranked_bars AS o WHERE {_SPAN}"
        f" AND NOT EXISTS (SELECT 1 FROM bars WHERE {same_bar}) GROUP BY coin, interval, t",
        span,
    )
    connection.execute(
        f"DELETE FROM outranked_bars AS o WHERE {_SPAN}"  # noqa: S608
        f" AND EXISTS (SELECT 1 FROM bars WHERE {same_bar} AND bars.source = o.source)",
        span,
    )


def remove_fills(db: Database, slot: SlotName, ends: RunEnds) -> int:
    """Remove filled bars that repeat the close of a bar that `remove` took away; return how many.

    Their price came from the import. If the venue has no such bars, they are filled again.
    """
    gone = 0
    with db.writing() as connection:
        for last_t, close in ends:
            t = last_t + slot.interval_ms
            while connection.execute(
                "DELETE FROM bars WHERE coin = ? AND interval = ? AND t = ? AND provenance = ?"
                " AND close = ?",
                (*slot, t, Provenance.FILLED.value, close),
            ).rowcount:
                gone, t = gone + 1, t + slot.interval_ms
    return gone


class _Judged(NamedTuple):
    """Which bars are stored and which are confirmed, shape (n_bars,), and what importing does."""

    stored: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    counts: NDArray[np.int64]
    overlap: Overlap


def _judge(there: bar_table.HeldColumns, bars: BarColumns) -> _Judged:
    stored = np.isin(bars.t, there.bars.t, assume_unique=True)
    record = there.part(there.rank == RANK[Provenance.REST]).bars
    confirmed = np.isin(bars.t, record.t, assume_unique=True)
    found, kept = compare(there.bars, bars), compare(record, bars).differ
    counts = np.array([(~stored).sum(), found.differ - kept, found.equal, kept])
    return _Judged(stored, confirmed, counts, found)


def _run_ends(connection: sqlite3.Connection, slot: SlotName, which: tuple[object, ...]) -> RunEnds:
    """Return t and close of each bar in force that no other of these imports follows."""
    rows = connection.execute(
        "SELECT t, close, lead(t) OVER (ORDER BY t) FROM bars"  # noqa: S608
        f" WHERE {_FROM_SOURCES}",
        which,
    )
    return tuple((t, close) for t, close, after in rows if after != t + slot.interval_ms)


def _chunks(bars: BarColumns, step: int) -> Iterator[BarColumns]:
    """Cut bars into pieces that span a bounded time, for what is stored there is read too."""
    edges = np.flatnonzero(np.diff(bars.t // (step * _CHUNK_BARS))) + 1
    for first, end in zip([0, *edges.tolist()], [*edges.tolist(), len(bars)], strict=True):
        if end > first:
            yield bars.part(slice(first, end))


def _cover(connection: sqlite3.Connection, slot: SlotName, t: NDArray[np.int64]) -> None:
    """Copy bars in force to `outranked_bars`, before others replace them."""
    if len(t):
        connection.execute(
            f"INSERT INTO outranked_bars ({COLUMNS}) SELECT {COLUMNS} FROM bars"  # noqa: S608
            f" WHERE {_SPAN} AND t IN (SELECT value FROM json_each(?))",
            (*slot, int(t[0]), int(t[-1]), msgspec.json.encode(t.tolist()).decode()),
        )


def _insert(
    connection: sqlite3.Connection, table: str, slot: SlotName, bars: BarColumns, number: int
) -> None:
    # Binding only the numbers that differ from row to row is faster by a third.
    coin, interval = (f"'{name.replace(chr(39), 2 * chr(39))}'" for name in slot)
    connection.executemany(
        f"INSERT OR REPLACE INTO {table} ({COLUMNS}) VALUES"  # noqa: S608
        f" ({coin}, {interval}, ?, ?, ?, ?, ?, ?, ?, '{Provenance.IMPORT.value}', 0, {number})",
        bars.rows(),
    )
