"""Read the bars in force, and put in what the venue says.

`bars` has one copy of each bar: the one in force. What an import covers, and imports that
something better covers, stand in `outranked_bars`, so that forgetting an import is exact
(`daemon.store.imported.bars`). Reading needs the first table only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import Bar, Hole, Provenance
from daemon.store.bar_columns import BarColumns
from daemon.store.bar_merge import RANK, PutResult, Stored, merge
from daemon.store.database import Database
from hyperdrift.slot_name import SlotName

COLUMNS: Final = (
    "coin, interval, t, open, high, low, close, volume, n, provenance, revisions, source"
)
"""The columns of `bars`, in its order, and of `outranked_bars`."""

VENUE: Final = 0
"""The source of every bar that no import brought."""

_SPAN: Final = "coin = ? AND interval = ? AND t BETWEEN ? AND ?"
_INSERT: Final = "INSERT OR REPLACE INTO {} ({}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
_RANK_OF: Final = " ".join(f"WHEN '{p.value}' THEN {rank}" for p, rank in RANK.items())
_WIDTH: Final = 9


@dataclass(frozen=True, slots=True, eq=False)
class HeldColumns:
    """Bars in force.

    Attributes:
        bars: The bars.
        rank: Their trust as in `bar_merge.RANK`, shape (n_bars,).
        source: The number of the import that each is from, 0 for the venue, shape (n_bars,).
    """

    bars: BarColumns
    rank: NDArray[np.int64]
    source: NDArray[np.int64]

    def part(self, which: slice | NDArray[Any]) -> "HeldColumns":
        """Return the bars of a slice, a mask of shape (n_bars,), or indices of shape (k,)."""
        return HeldColumns(self.bars.part(which), self.rank[which], self.source[which])


def held(db: Database, slot: SlotName, from_t: int, to_t: int) -> dict[int, Stored]:
    """Return the bars in force by t, ascending; both ends inclusive, ms UTC."""
    return _stored(db, f"bars WHERE {_SPAN}", (*slot, from_t, to_t))


def count(db: Database, slot: SlotName, before_t: int) -> int:
    """Return how many bars in force opened before a time, ms UTC."""
    query = "SELECT count(*) FROM bars WHERE coin = ? AND interval = ? AND t < ?"
    found: int = db.read(query, (*slot, before_t))[0][0]
    return found


def oldest_t(db: Database, slot: SlotName, from_t: int) -> int | None:
    """Return the open time of the oldest bar since `from_t`, ms UTC; None without any."""
    query = "SELECT min(t) FROM bars WHERE coin = ? AND interval = ? AND t >= ?"
    found: int | None = db.read(query, (*slot, from_t))[0][0]
    return found


def holes(db: Database, slot: SlotName, from_t: int) -> list[Hole]:
    """Return the holes between the bars since `from_t`, ms UTC, oldest first."""
    step, values = slot.interval_ms, (*slot, from_t)
    which = "FROM bars WHERE coin = ? AND interval = ? AND t >= ?"
    span = db.read(f"SELECT count(*), (max(t) - min(t)) / ? + 1 {which}", (step, *values))[0]
    if span[0] == (span[1] or 0):
        return []  # as almost always, in a tenth of the time
    rows = db.read(
        f"SELECT before, t FROM (SELECT t, lag(t) OVER (ORDER BY t) AS before {which})"  # noqa: S608
        " WHERE t - before > ? ORDER BY t",
        (*values, step),
    )
    return [Hole(before + step, after - step) for before, after in rows]


def columns(db: Database, slot: SlotName, from_t: int, to_t: int) -> HeldColumns:
    """Return the bars in force as columns; both ends inclusive, ms UTC."""
    source = "source" if db.has_imports else "0"
    query = (
        f"SELECT t, open, high, low, close, volume, n, CASE provenance {_RANK_OF} END, {source}"  # noqa: S608 - names of ours
        f" FROM bars WHERE {_SPAN} ORDER BY t"
    )
    found = db.read_columns(query, (*slot, from_t, to_t), _WIDTH)
    t, opened, high, low, close, volume, n, rank, source_of = found
    # Whole numbers below 2**53 fit a float64 exactly.
    bars = BarColumns(t.astype(np.int64), opened, high, low, close, volume, n.astype(np.int64))
    return HeldColumns(bars, rank.astype(np.int64), source_of.astype(np.int64))


def put(db: Database, slot: SlotName, new: list[Stored]) -> PutResult:
    """Merge what the venue says into the table, all or none; see `Store.put_bars`."""
    with db.writing() as connection:
        span = (*slot, min(s.bar.t for s in new), max(s.bar.t for s in new))
        in_force = held(db, slot, *span[2:])
        imported = {t for t, s in in_force.items() if s.provenance is Provenance.IMPORT}
        venues = {t: s for t, s in in_force.items() if t not in imported}
        if imported:
            venues |= _stored(db, f"outranked_bars WHERE {_SPAN} AND source = 0", span)
        before = dict(venues)
        result = merge(venues, new)
        if imported:
            result = merge(in_force, new)
        changed = [s for t, s in venues.items() if s != before.get(t)]
        _write(connection, slot, changed, imported)
    return result


def _write(connection: Any, slot: SlotName, changed: Iterable[Stored], imported: set[int]) -> None:
    """Write the venue's copies; those that an import outranks go beneath it."""
    changed = list(changed)
    beneath = [s for s in changed if s.bar.t in imported and s.provenance is not Provenance.REST]
    above = [(*slot, s.bar.t) for s in changed if s.bar.t in imported and s not in beneath]
    if above:
        key = "coin = ? AND interval = ? AND t = ?"
        connection.executemany(f"DELETE FROM outranked_bars WHERE {key} AND source = 0", above)  # noqa: S608
        connection.executemany(
            f"INSERT INTO outranked_bars ({COLUMNS}) SELECT {COLUMNS} FROM bars WHERE {key}",  # noqa: S608
            above,
        )
    for table, rows in (
        ("outranked_bars", beneath),
        ("bars", [s for s in changed if s not in beneath]),
    ):
        connection.executemany(_INSERT.format(table, COLUMNS), [_row(slot, s) for s in rows])


def _stored(db: Database, which: str, values: tuple[Any, ...]) -> dict[int, Stored]:
    rows = db.read(
        "SELECT t, open, high, low, close, volume, n, provenance, revisions"  # noqa: S608
        f" FROM {which} ORDER BY t",
        values,
    )
    return {row[0]: Stored(Bar(*row[:7]), Provenance(row[7]), row[8]) for row in rows}


def _row(slot: SlotName, stored: Stored) -> tuple[Any, ...]:
    values = msgspec.structs.astuple(stored.bar)
    return (*slot, *values, stored.provenance.value, stored.revisions)
