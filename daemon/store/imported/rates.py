"""Funding rates and cohort flow, of the venue and of imports, as they are in force.

The venue's own are never touched by an import. A settlement belongs to an hour, because the
venue stamps it some milliseconds later and other programs on the hour: of one hour the venue's
rate is in force, or else that of the newest import. Of two flows of a bar the one that saw more
volume is in force; among imports the newest.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.store.database import Database
from daemon.store.imported.sources import Tally
from hyperdrift.slot_name import HOUR_MS, SlotName

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FLOW: Final = "coin = ? AND interval = ? AND t BETWEEN ? AND ?"


class Rates(NamedTuple):
    """Funding rates, ascending, each of shape (n,): times of settlement, ms UTC, and rates an hour.

    `source` has the import of each; the venue is 0, and alone where it has no entry.
    """

    time: Ints
    rate: Floats
    source: Ints = np.zeros(0, np.int64)


def rates(db: Database, coin: str, from_ms: int, to_ms: int) -> Rates:
    """Return the rates in force between two times, ms UTC, both inclusive."""
    query = "SELECT time, rate FROM funding WHERE coin = ? AND time BETWEEN ? AND ? ORDER BY time"
    if not has_imported_rates(db, coin):
        time, rate = db.read_columns(query, (coin, from_ms, to_ms), 2)
        return Rates(time.astype(np.int64), rate, np.zeros(len(time), np.int64))
    # A rate just outside may be of the same hour as one inside.
    span = (coin, from_ms // HOUR_MS * HOUR_MS, to_ms // HOUR_MS * HOUR_MS + HOUR_MS - 1)
    others = "SELECT time, rate, source FROM imported_funding WHERE coin = ? AND time BETWEEN ?"
    venues = db.read_columns(query, span, 2)
    imported = db.read_columns(f"{others} AND ? ORDER BY source DESC, time", span, 3)
    time, rate = np.concatenate([venues, imported[:2]], axis=1)
    source = np.r_[np.zeros(venues.shape[1]), imported[2]]
    # The first rate of an hour ranks highest; all others of its source stay with it.
    hours, first = np.unique(time // HOUR_MS, return_index=True)
    best = source[first][np.searchsorted(hours, time // HOUR_MS)]
    kept = np.flatnonzero((source == best) & (time >= from_ms) & (time <= to_ms))
    kept = kept[np.argsort(time[kept], kind="stable")]
    return Rates(time[kept].astype(np.int64), rate[kept], source[kept].astype(np.int64))


def rates_from(db: Database, coin: str, first_ms: int, last_ms: int) -> tuple[Ints, Floats]:
    """Return times and rates, beginning with the rate that was in force at `first_ms`.

    Times are in ms UTC; both have the shape (n,).
    """
    # One query for both: this is read at each bar.
    is_mixed = "EXISTS (SELECT 1 FROM imported_funding WHERE coin = ?1)" if db.has_imports else "0"
    time, rate, mixed = db.read_columns(
        f"SELECT time, rate, {is_mixed} FROM funding WHERE coin = ?1 AND time <= ?3 AND time >="  # noqa: S608
        " coalesce((SELECT max(time) FROM funding WHERE coin = ?1 AND time <= ?2), ?2)"
        " ORDER BY time",
        (coin, first_ms, last_ms),
        3,
    )
    if not mixed.any() and (len(time) or not has_imported_rates(db, coin)):
        return time.astype(np.int64), rate
    before = db.read(
        "SELECT max(time) FROM funding WHERE coin = ?1 AND time <= ?2 UNION ALL"
        " SELECT max(time) FROM imported_funding WHERE coin = ?1 AND time < ?3",
        (coin, first_ms, first_ms // HOUR_MS * HOUR_MS),
    )
    start = max((time for (time,) in before if time is not None), default=first_ms)
    found = rates(db, coin, start // HOUR_MS * HOUR_MS, last_ms)
    return found.time, found.rate


def has_imported_rates(db: Database, coin: str) -> bool:
    """Tell whether an import brought rates of this coin."""
    query = "SELECT 1 FROM imported_funding WHERE coin = ? LIMIT 1"
    return db.has_imports and bool(db.read(query, (coin,)))


def put_rates(connection: sqlite3.Connection, coin: str, number: int, new: Rates) -> None:
    """Store the rates of an import."""
    rows = zip(new.time.tolist(), new.rate.tolist(), strict=True)
    connection.executemany(
        "INSERT OR REPLACE INTO imported_funding VALUES (?, ?, ?, ?)",
        [(coin, at, number, rate) for at, rate in rows],
    )


def tally(db: Database, coin: str) -> dict[int, Tally]:
    """Return by the number of each import what is stored of it."""
    rows = db.read(
        "SELECT source, count(*), min(time), max(time) FROM imported_funding WHERE coin = ?"
        " GROUP BY source",
        (coin,),
    )
    used = Counter(rates(db, coin, -(2**62), 2**62).source.tolist())
    return {number: Tally(count, used[number], *ends) for number, count, *ends in rows}


def remove_rates(
    connection: sqlite3.Connection, coin: str, numbers: Collection[int], from_ms: int, to_ms: int
) -> None:
    """Remove the rates of imports between two times, ms UTC."""
    connection.execute(
        "DELETE FROM imported_funding WHERE coin = ? AND time BETWEEN ? AND ?"
        " AND source IN (SELECT value FROM json_each(?))",
        (coin, from_ms, to_ms, msgspec.json.encode(list(numbers)).decode()),
    )


def remove_flow(
    connection: sqlite3.Connection, slot: SlotName, numbers: Collection[int], from_t: int, to_t: int
) -> None:
    """Remove the flow of imports between two open times, ms UTC."""
    connection.execute(
        f"DELETE FROM imported_flow WHERE {_FLOW} AND source IN (SELECT value FROM json_each(?))",  # noqa: S608
        (*slot, from_t, to_t, msgspec.json.encode(list(numbers)).decode()),
    )


def put_flow(
    connection: sqlite3.Connection, slot: SlotName, number: int, flows: Iterable[tuple[float, ...]]
) -> None:
    """Store the flow of an import: t, s_top, s_bot and the volume that was seen."""
    connection.executemany(
        "INSERT OR REPLACE INTO imported_flow (coin, interval, source, t, s_top, s_bot, seen)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(*slot, number, *flow) for flow in flows],
    )


def flows(db: Database, slot: SlotName, from_t: int, to_t: int) -> Floats:
    """Return t, s_top, s_bot and seen of the flows in force, ascending in t, shape (4, n).

    Both open times are in ms UTC and inclusive.
    """
    own = f"SELECT t, s_top, s_bot, seen, 0 AS source FROM flow WHERE {_FLOW}"  # noqa: S608
    span = (*slot, from_t, to_t)
    if not db.has_imports:
        return db.read_columns(f"{own} ORDER BY t", span, 5)[:4]
    # One query for both: this is read at each bar.
    both = db.read_columns(
        f"{own} UNION ALL SELECT t, s_top, s_bot, seen, max(source) FROM imported_flow"  # noqa: S608
        f" WHERE {_FLOW} GROUP BY t ORDER BY t, source",
        (*span, *span),
        5,
    )[:4]
    if not (np.diff(both[0]) == 0).any():
        return both
    # Of each t the one that saw more; the venue's own if they saw as much.
    order = np.lexsort((np.arange(both.shape[1]), -both[3], both[0]))
    both = both[:, order]
    return both[:, np.r_[True, np.diff(both[0]) > 0]]
