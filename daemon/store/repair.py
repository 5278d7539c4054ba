"""Copy what can still be read of a damaged database: the venue serves the newest bars only.

A table is read from its beginning to the first page that cannot be read, and then from its end
backwards. Copied bars count as unconfirmed, so the daemon asks the venue for those that it
still serves.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from daemon.core.bars import LATEST_MS, MOST_TRADES, REACH_BARS, Provenance
from daemon.store.bar_table import COLUMNS
from daemon.store.database import Database
from daemon.store.imported.bars import promote
from daemon.store.migrations import NAME_OLD_IMPORTS
from hyperdrift.slot_name import INTERVAL_MS, SlotName
from retrain.bar_limits import LARGEST_PRICE, LARGEST_RATE, LARGEST_VOLUME, SMALLEST_PRICE

# Each table and its key, which is the order of its rows in the file.
_TABLES: Final = {
    "sources": ("id",),
    "bars": ("coin", "interval", "t"),
    "outranked_bars": ("coin", "interval", "t", "source"),
    "imported_funding": ("coin", "time", "source"),
    "imported_flow": ("coin", "interval", "t", "source"),
    "funding": ("coin", "time"),
    "flow": ("coin", "interval", "t"),
    "takers": ("id",),
    "taker_flow": ("coin", "interval", "t"),
    "cohort_lists": ("coin", "interval", "from_t"),
    "gaps": ("coin", "interval", "from_t"),
    "silences": ("coin", "interval", "from_t"),
    "journal": ("seq",),
    "properties": ("name",),
}
_BATCH: Final = 1000
# The same limits as those of `Bar.fault` and `Funding.fault`.
_INTERVALS: Final = ", ".join(map(repr, INTERVAL_MS))
_PROVENANCES: Final = ", ".join(repr(provenance.value) for provenance in Provenance)
_NO_BAR: Final = (
    f" WHERE NOT (low >= {SMALLEST_PRICE} AND high <= {LARGEST_PRICE}"
    " AND low <= min(open, close) AND high >= max(open, close)"
    f" AND volume BETWEEN 0 AND {LARGEST_VOLUME} AND t BETWEEN 0 AND {LATEST_MS - 1}"
    f" AND n BETWEEN 0 AND {MOST_TRADES} AND interval IN ({_INTERVALS})"
    f" AND provenance IN ({_PROVENANCES}))"
)
_NO_RATE: Final = f" WHERE NOT (abs(rate) <= {LARGEST_RATE} AND time BETWEEN 0 AND {LATEST_MS - 1})"
_IMPOSSIBLE: Final = (
    f"bars {_NO_BAR}",
    f"outranked_bars {_NO_BAR}",
    f"funding {_NO_RATE}",
    f"imported_funding {_NO_RATE}",
    "cohort_lists WHERE NOT (json_valid(top) AND json_valid(bottom))",
)
# Tables with rows of imports, and the kind of import.
_OF_IMPORTS: Final = (
    ("bars", "bars", "interval"),
    ("outranked_bars", "bars", "interval"),
    ("imported_flow", "bars", "interval"),
    ("imported_funding", "funding", "''"),
)


def recover_rows(damaged: Path, into: Database) -> dict[str, int]:
    """Copy all rows of a damaged file that can be read; return how many, by table.

    Args:
        damaged: The file that was set aside, with its log beside it.
        into: The new database, still empty.

    Raises:
        StoreUnavailable: If the disk is full or the new file not writable.
    """
    saved = {}
    source = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode=ro", uri=True)
    # Text that is not UTF-8 must not end the reading; the values are checked afterwards.
    source.text_factory = lambda raw: raw.decode(errors="replace")
    with contextlib.closing(source):
        for table, key in _TABLES.items():
            columns = _common_columns(source, into, table)
            if columns:
                saved[table] = _copy(source, into, table, columns, key)
    _mark_unconfirmed(into)
    _restore_imports(into)
    return {table: rows for table, rows in saved.items() if rows}


def _common_columns(source: sqlite3.Connection, into: Database, table: str) -> list[str]:
    query = "SELECT name FROM pragma_table_info(?)"
    try:
        had = {name for (name,) in source.execute(query, (table,))}
    except sqlite3.DatabaseError:
        return []
    return [name for (name,) in into.read(query, (table,)) if name in had]


def _copy(
    source: sqlite3.Connection, into: Database, table: str, columns: list[str], key: tuple[str, ...]
) -> int:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
    copied = 0
    for direction in ("ASC", "DESC"):
        reading = _Reading(source, table, columns, key, direction)
        rows = reading.rows()
        while batch := list(islice(rows, _BATCH)):
            new = _insert(into, insert, batch)
            copied += new
            if direction == "DESC" and not new:
                return copied  # the rest was copied in the first direction
        if reading.is_whole:
            break
    return copied


def _insert(into: Database, insert: str, rows: list[tuple[Any, ...]]) -> int:
    """Insert the rows that are new and of the right types; return how many."""
    with into.writing() as db:
        before = db.total_changes
        for row in rows:
            with contextlib.suppress(sqlite3.IntegrityError):
                db.execute(insert, row)
        return db.total_changes - before


@dataclass(slots=True)
class _Reading:
    """Reads a table in one direction; `is_whole` once it reached the end."""

    source: sqlite3.Connection
    table: str
    columns: list[str]
    key: tuple[str, ...]
    direction: str
    is_whole: bool = False

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield rows up to the first page that cannot be read."""
        last: tuple[Any, ...] | None = None
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in self.source.execute(self._query()):
                yield row
                last = row
            self.is_whole = True
            return
        # Python's library reads one row ahead and loses the last good one.
        with contextlib.suppress(sqlite3.DatabaseError):
            at = () if last is None else tuple(last[self.columns.index(name)] for name in self.key)
            yield from self.source.execute(self._query(after=bool(at)) + " LIMIT 1", at)

    def _query(self, *, after: bool = False) -> str:
        names, key = ", ".join(self.columns), ", ".join(self.key)
        order = ", ".join(f"{name} {self.direction}" for name in self.key)
        sign, marks = (">" if self.direction == "ASC" else "<"), ", ".join("?" * len(self.key))
        where = f"WHERE ({key}) {sign} ({marks})" if after else ""
        return f"SELECT {names} FROM {self.table} {where} ORDER BY {order}"  # noqa: S608 - names of ours


def _mark_unconfirmed(into: Database) -> None:
    """Remove impossible bars; mark those that the venue still serves as unconfirmed."""
    with into.writing() as db:
        for impossible in _IMPOSSIBLE:
            db.execute(f"DELETE FROM {impossible}")  # noqa: S608 - numbers of ours
        # Half of a long entry may lie on the damaged page; a start could not read such a journal.
        db.execute("DELETE FROM journal WHERE NOT json_valid(body)")
        newest = db.execute("SELECT coin, interval, max(t) FROM bars GROUP BY coin, interval")
        for coin, interval, t in newest.fetchall():
            from_t = t - REACH_BARS * INTERVAL_MS[interval]
            db.execute(
                "UPDATE bars SET provenance = ? WHERE coin = ? AND interval = ? AND t > ?"
                " AND provenance = ?",
                (Provenance.STREAM.value, coin, interval, from_t, Provenance.REST.value),
            )


def _restore_imports(into: Database) -> None:
    """Name imports whose entry is lost, put the best copies in force, and have all compared."""
    with into.writing() as db:
        for table, kind, interval in _OF_IMPORTS:
            # Rows of a file of an older schema name no source.
            db.execute(
                "INSERT OR IGNORE INTO sources (id, kind, coin, interval, name, at_ms, digest,"  # noqa: S608
                f" rows) SELECT source, '{kind}', coin, {interval}, 'salvaged-' || source, 0, '', 0"
                f" FROM {table} WHERE source > 0 GROUP BY source"
            )
        for script in NAME_OLD_IMPORTS:
            db.execute(script)
        db.execute("UPDATE sources SET checked = 0")
        better = (
            "bars WHERE provenance != 'rest' AND EXISTS (SELECT 1 FROM outranked_bars AS o WHERE"
            " o.coin = bars.coin AND o.interval = bars.interval AND o.t = bars.t"
            " AND o.source > bars.source)"
        )
        db.execute(
            f"INSERT OR IGNORE INTO outranked_bars ({COLUMNS}) SELECT {COLUMNS} FROM {better}"  # noqa: S608
        )
        db.execute(f"DELETE FROM {better}")  # noqa: S608
        for slot in db.execute("SELECT DISTINCT coin, interval FROM outranked_bars").fetchall():
            promote(db, SlotName(*slot))
