"""Read the journal from its end: the newest entries first, filtered, a page at a time.

Nine tenths of the journal are the scores of bars, and a reader asks for the rest. So three
indexes leave the scores out. Each kind is looked up by itself, without a scan: a bar that is
stored meanwhile waits for some milliseconds at most.
"""

import heapq
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from daemon.store.database import Database
from daemon.store.journal_kinds import SCORED
from daemon.store.journal_table import JournalEntry, entry_of, scored_slots
from hyperdrift.slot_name import SlotName

LONGEST_PAGE: Final = 200
"""Entries that are read at once."""

# SQLite uses an index without the scores only where this text stands in the query too.
_NO_SCORE: Final = f"kind <> '{SCORED}'"
_LAST_SEQ: Final = 2**62


def newest_entries(
    db: Database,
    slot: SlotName | None,
    *,
    kinds: Collection[str] | None,
    since_ms: int | None,
    before: int | None,
    limit: int,
) -> list[JournalEntry]:
    """Return entries, the newest first; see `Store.journal_newest`."""
    limit = max(0, min(limit, LONGEST_PAGE))
    wanted = kinds_of(db, slot) if kinds is None else sorted(set(kinds))
    before, found = before or _LAST_SEQ, list[JournalEntry]()
    while len(found) < limit:
        left = limit - len(found)
        seqs = _seqs(db, slot, wanted, since_ms=since_ms, before=before, limit=left)
        if not seqs:
            break
        found += _entries(db, seqs)  # without those that cannot be read
        before = seqs[-1]
    return found


def kinds_of(db: Database, slot: SlotName | None) -> list[str]:
    """Return the kinds of entries of a slot, or of all; without the scores of bars."""
    whose, values = ("slot = ? AND ", (str(slot),)) if slot else ("", ())
    # One step along the index for each kind.
    query = f"SELECT min(kind) FROM journal WHERE {whose}kind > ? AND {_NO_SCORE}"  # noqa: S608
    found: list[str] = []
    while (kind := db.read(query, (*values, found[-1] if found else ""))[0][0]) is not None:
        found.append(kind)
    return found


def newest_seq(db: Database) -> int:
    """Return the number of the newest entry, 0 in an empty journal."""
    return int(db.read("SELECT max(seq) FROM journal")[0][0] or 0)


def _seqs(
    db: Database,
    slot: SlotName | None,
    kinds: Iterable[str],
    *,
    since_ms: int | None,
    before: int,
    limit: int,
) -> list[int]:
    """Return the numbers of the newest entries before `before`, the newest first."""
    whose, values = ("slot = ? AND ", (str(slot),)) if slot else ("", ())
    query = f"SELECT seq FROM journal WHERE {whose}kind = ? AND {_NO_SCORE} AND seq < ?"  # noqa: S608
    since: tuple[int, ...] = ()
    if since_ms is not None:
        # With a plain `min(seq)` SQLite would walk the table from its beginning.
        first = f"SELECT min(+seq) FROM journal WHERE at_ms >= ? AND {_NO_SCORE}"  # noqa: S608
        since = (since_ms, db.read(first, (since_ms,))[0][0] or _LAST_SEQ)
        query += " AND at_ms >= ? AND seq >= ?"
    query += " ORDER BY seq DESC LIMIT ?"
    found: list[int] = []
    for kind in kinds:
        if kind == SCORED:
            for of in [slot] if slot else scored_slots(db):
                found += _scores(db, of, since_ms, before, limit)
            continue
        rows = db.read(query, (*values, kind, before, *since, limit))
        found += [seq for (seq,) in rows]
    return heapq.nlargest(limit, found)


def _scores(
    db: Database, slot: SlotName, since_ms: int | None, before: int, limit: int
) -> list[int]:
    """Return the numbers of the newest scores of a slot, whose times grow with the numbers."""
    rows = db.read(
        f"SELECT seq FROM journal WHERE slot = ? AND kind = '{SCORED}' AND seq < ?"  # noqa: S608
        " AND at_ms >= ? ORDER BY at_ms DESC LIMIT ?",
        (str(slot), before, -_LAST_SEQ if since_ms is None else since_ms, limit),
    )
    return [seq for (seq,) in rows]


def _entries(db: Database, seqs: list[int]) -> list[JournalEntry]:
    query = (
        "SELECT seq, slot, at_ms, kind, body FROM journal"
        " WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq DESC"
    )
    rows: list[Any] = db.read(query, (msgspec.json.encode(seqs).decode(),))
    return [entry for row in rows if (entry := entry_of(*row)) is not None]
