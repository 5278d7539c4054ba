"""Keep what addresses took in each bar, and the cohorts that were learnt from it.

A busy coin has thousands of takers a day, so of each bar only those with the largest net volume
are kept, in two short blobs. Cohorts have the time from which they are in force: a bar's flow
never comes from cohorts that were learnt from that bar, or from a later one.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.store.database import Database
from hyperdrift.slot_name import DAY_MS, SlotName

MOST_TAKERS: Final = 240
"""Takers of a bar that are kept: those with the largest net volume."""

Takers = Mapping[str, float]
"""Net taker volume by address in one bar, base units, negative if sold."""


class TakerRows(NamedTuple):
    """Rows of taker, bar and net volume, each of shape (n,): an id, ms UTC, base units."""

    taker: NDArray[np.uint32]
    t: NDArray[np.int64]
    signed: NDArray[np.float32]


class CohortList(NamedTuple):
    """Addresses of both cohorts, in force for bars that open at `from_t` (ms UTC) or later."""

    from_t: int
    top: frozenset[str]
    bottom: frozenset[str]

    def split(self, takers: Takers) -> tuple[float, float]:
        """Return the net volume of the top and of the bottom cohort in one bar, base units."""
        top, bottom = (
            sum(signed for address, signed in takers.items() if address in cohort)
            for cohort in (self.top, self.bottom)
        )
        return top, bottom


NOBODY: Final = CohortList(0, frozenset(), frozenset())


def largest(takers: Takers) -> dict[str, float]:
    """Return the takers of a bar that are kept; an address that is empty is nobody."""
    net = [(address, signed) for address, signed in takers.items() if address and signed]
    return dict(sorted(net, key=lambda item: (-abs(item[1]), item[0]))[:MOST_TAKERS])


def put(db: Database, slot: SlotName, bars: Mapping[int, Takers], keep_ms: int) -> None:
    """Store the takers of bars by open time (ms UTC), and remove bars older than `keep_ms`."""
    if not bars:
        return
    newest = max(bars)
    with db.writing() as connection:
        for t, takers in sorted(bars.items()):
            connection.executemany(
                "INSERT INTO takers (address, t) VALUES (?, ?)"
                " ON CONFLICT (address) DO UPDATE SET t = max(t, excluded.t)",
                [(address, t) for address in takers],
            )
            known = dict(
                connection.execute(
                    "SELECT address, id FROM takers"
                    " WHERE address IN (SELECT value FROM json_each(?))",
                    (_json(takers),),
                )
            )
            ids = np.array([known[address] for address in takers], np.uint32)
            signed = np.array(list(takers.values()), np.float32)
            connection.execute(
                "INSERT OR REPLACE INTO taker_flow VALUES (?, ?, ?, ?, ?)",
                (*slot, t, ids.tobytes(), signed.tobytes()),
            )
        span = (*slot, newest - keep_ms)
        connection.execute("DELETE FROM taker_flow WHERE coin = ? AND interval = ? AND t < ?", span)
        if newest % DAY_MS < slot.interval_ms:
            connection.execute("DELETE FROM takers WHERE t < ?", (newest - keep_ms,))


def read(db: Database, slot: SlotName, from_t: int, to_t: int) -> TakerRows:
    """Return what is kept of the bars between two open times, ms UTC, both inclusive."""
    found = db.read(
        "SELECT t, takers, signed FROM taker_flow WHERE coin = ? AND interval = ?"
        " AND t BETWEEN ? AND ? ORDER BY t",
        (*slot, from_t, to_t),
    )
    # A row of a damaged file may be cut short.
    found = [row for row in found if len(row[1]) == len(row[2]) and not len(row[1]) % 4]
    counts = [len(row[1]) // 4 for row in found]
    return TakerRows(
        np.frombuffer(b"".join(row[1] for row in found), np.uint32),
        np.repeat(np.array([row[0] for row in found], np.int64), counts),
        np.frombuffer(b"".join(row[2] for row in found), np.float32),
    )


def addresses(db: Database) -> dict[int, str]:
    """Return the address of each taker."""
    return dict(db.read("SELECT id, address FROM takers"))


def put_lists(db: Database, slot: SlotName, lists: Iterable[CohortList]) -> None:
    """Store learnt cohorts, all or none."""
    with db.writing() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO cohort_lists VALUES (?, ?, ?, ?, ?)",
            [(*slot, one.from_t, _json(one.top), _json(one.bottom)) for one in lists],
        )


def lists(db: Database, slot: SlotName) -> list[CohortList]:
    """Return the cohorts of a slot, the oldest first."""
    rows = db.read(
        "SELECT from_t, top, bottom FROM cohort_lists WHERE coin = ? AND interval = ?"
        " ORDER BY from_t",
        slot,
    )
    return [_list(*row) for row in rows]


def list_in_force(db: Database, slot: SlotName, t: int) -> CohortList:
    """Return the cohorts for the bar that opened at `t`, ms UTC; nobody before the first."""
    rows = db.read(
        "SELECT from_t, top, bottom FROM cohort_lists WHERE coin = ? AND interval = ?"
        " AND from_t <= ? ORDER BY from_t DESC LIMIT 1",
        (*slot, t),
    )
    return _list(*rows[0]) if rows else NOBODY


def rewrite_flow(db: Database, slot: SlotName, one: CohortList, from_t: int, to_t: int) -> None:
    """Give the bars between two open times (ms UTC, inclusive) the flow of these cohorts.

    Only bars that have a flow are changed, and how much of them was seen stays.
    """
    rows = read(db, slot, from_t, to_t)
    names = addresses(db)
    side = {k: (a in one.top) - (a in one.bottom) for k, a in names.items()}
    ours = np.array([side.get(k, 0) for k in rows.taker.tolist()], np.int64)
    times = np.unique(rows.t)
    at = np.searchsorted(times, rows.t)
    top, bottom = (np.bincount(at, rows.signed * (ours == s), len(times)) for s in (1, -1))
    changes = [
        (*both, *slot, t)
        for *both, t in zip(top.tolist(), bottom.tolist(), times.tolist(), strict=True)
    ]
    where = "SET s_top = ?, s_bot = ? WHERE coin = ? AND interval = ? AND t = ?"
    with db.writing() as connection:
        for table in ("flow", "imported_flow"):
            connection.executemany(f"UPDATE {table} {where}", changes)


def _list(from_t: int, top: str, bottom: str) -> CohortList:
    return CohortList(from_t, *(frozenset(msgspec.json.decode(text)) for text in (top, bottom)))


def _json(addresses_: Iterable[str]) -> str:
    return msgspec.json.encode(sorted(addresses_)).decode()
