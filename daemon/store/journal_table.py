"""Write, read and prune the journal table, which also holds the predictions.

Scores of bars are nine tenths of the journal and useful for weeks. Deploys, rollbacks and
decisions are few, and somebody may ask about them years later. A bot that starts again and
again writes many entries too. So each kind is kept for a time of its own. Old rows are removed
a few at a time, so that a bar waits for the store for milliseconds only.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from daemon.core.outside_text import decode_json
from daemon.store.database import Database
from daemon.store.journal_kinds import CHATTER, POINTER_MOVED, SCORED
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

# SQLite uses the index `chatter` only if this text equals its definition.
_CHATTER: Final = f"kind IN ({', '.join(map(repr, CHATTER))})"
# The same holds for the indexes of everything but scores, and of scores alone.
_SCORE, _NO_SCORE = f"kind = '{SCORED}'", f"kind <> '{SCORED}'"
_PAGE_ROWS: Final = 1000
_MIN_INT: Final = -(2**62)


class JournalEntry(NamedTuple):
    """One event or decision; `slot` is None for those of the whole daemon."""

    seq: int
    slot: SlotName | None
    at_ms: int
    kind: str
    body: dict[str, Any]


class StoredPrediction(NamedTuple):
    """The probabilities of the live model for the bar that opened at `t`."""

    t: int
    model_id: str
    p_down: float
    p_neutral: float
    p_up: float


def entry_of(seq: int, name: str | None, at_ms: int, kind: str, body: str) -> JournalEntry | None:
    """Read a row; a row that a bad disk changed must not make every start fail."""
    try:
        of = None if name is None else SlotName.parse(name)
        return JournalEntry(seq, of, at_ms, kind, decode_json(body, dict[str, Any]))
    except BadInput as e:
        log.warning("journal.illegible", seq=seq, kind=kind, why=str(e))
        return None


def append(db: Database, slot: SlotName | None, at_ms: int, kind: str, body: dict[str, Any]) -> int:
    """Write one entry; return its sequence number."""
    text = msgspec.json.encode(body).decode()
    with db.writing() as connection:
        cursor = connection.execute(
            "INSERT INTO journal (slot, at_ms, kind, body) VALUES (?, ?, ?, ?)",
            (None if slot is None else str(slot), at_ms, kind, text),
        )
    return int(cursor.lastrowid or 0)


def read(
    db: Database,
    slot: SlotName | None,
    after_seq: int,
    kinds: Collection[str] | None,
    since_ms: int | None,
) -> Iterator[JournalEntry]:
    """Return entries in the order in which they were written; see `Store.journal`."""
    since = _MIN_INT if since_ms is None else since_ms
    if slot is not None:
        return _of_slot(db, slot, after_seq, kinds, since)
    return _of_all(db, after_seq, kinds, since)


def rows_of_slot(
    db: Database, slot: SlotName, after_seq: int, since_ms: int, *, scores: bool = True
) -> Iterator[tuple[int, str, int, str, str]]:
    """Yield a slot's rows by the indexes: the journal of a fleet is too long for a scan.

    Args:
        db: The database.
        slot: The slot.
        after_seq: Only later ones.
        since_ms: Only those at this time or later, ms UTC.
        scores: Whether the scores of bars are among them.

    Yields:
        Number, slot, time in ms UTC, kind and JSON text, in the order in which they were written.
    """
    seqs: list[int] = []
    for which in (_SCORE, _NO_SCORE) if scores else (_NO_SCORE,):
        query = f"SELECT seq FROM journal WHERE slot = ? AND {which} AND at_ms >= ? AND seq > ?"  # noqa: S608
        seqs += [seq for (seq,) in db.read(query, (str(slot), since_ms, after_seq))]
    seqs.sort()
    query = (
        "SELECT seq, slot, at_ms, kind, body FROM journal"
        " WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
    )
    for at in range(0, len(seqs), _PAGE_ROWS):
        yield from db.read(query, (msgspec.json.encode(seqs[at : at + _PAGE_ROWS]).decode(),))


def _of_slot(
    db: Database, slot: SlotName, after_seq: int, kinds: Collection[str] | None, since_ms: int
) -> Iterator[JournalEntry]:
    scores = kinds is None or SCORED in kinds
    for row in rows_of_slot(db, slot, after_seq, since_ms, scores=scores):
        if (kinds is None or row[3] in kinds) and (entry := entry_of(*row)):
            yield entry


def _of_all(
    db: Database, after_seq: int, kinds: Collection[str] | None, since_ms: int
) -> Iterator[JournalEntry]:
    if since_ms > _MIN_INT:
        # Without this the query below would scan the whole table for its first row.
        first = db.read("SELECT min(seq) FROM journal WHERE at_ms >= ?", (since_ms,))
        after_seq = max(after_seq, (first[0][0] or 1) - 1)
    wanted = None if kinds is None else msgspec.json.encode(list(kinds)).decode()
    query = (
        "SELECT * FROM journal WHERE seq > ?1"
        " AND (?2 IS NULL OR kind IN (SELECT value FROM json_each(?2)))"
        " AND at_ms >= ?3 ORDER BY seq LIMIT ?4"
    )
    while rows := db.read(query, (after_seq, wanted, since_ms, _PAGE_ROWS)):
        for row in rows:
            if entry := entry_of(*row):
                yield entry
        after_seq = rows[-1][0]


def newest(db: Database, slot: SlotName, kind: str) -> JournalEntry | None:
    """Return the newest entry of a slot of one kind, no score; None if none can be read."""
    return next(newest_first(db, slot, kind), None)


def newest_first(
    db: Database, slot: SlotName, kind: str, before_ms: int = -_MIN_INT, most: int = -1
) -> Iterator[JournalEntry]:
    """Yield the newest entries of a slot of one kind, no score, from before a time, ms UTC."""
    query = (
        f"SELECT seq, slot, at_ms, kind, body FROM journal WHERE slot = ? AND {_NO_SCORE}"  # noqa: S608
        " AND kind = ? AND at_ms < ? ORDER BY seq DESC LIMIT ?"
    )
    for row in db.read(query, (str(slot), kind, before_ms, most)):
        if entry := entry_of(*row):
            yield entry


def predictions(db: Database, slot: SlotName, from_t: int | None) -> Iterator[StoredPrediction]:
    """Yield the predictions of the live model, oldest bar first."""
    rows = db.read(
        "SELECT t, model_id, p_down, p_neutral, p_up FROM predictions"
        " WHERE slot = ? AND t >= ? ORDER BY t",
        (str(slot), _MIN_INT if from_t is None else from_t),
    )
    return map(StoredPrediction._make, rows)


def scored_slots(db: Database) -> list[SlotName]:
    """Return every slot with scores in the journal, also one that is not configured any more."""
    found: list[SlotName] = []
    name = ""
    while (
        name := db.read(
            # One step along the index instead of a scan.
            f"SELECT min(slot) FROM journal WHERE kind = '{SCORED}' AND slot > ?",  # noqa: S608
            (name,),
        )[0][0]
    ) is not None:
        found.append(SlotName.parse(name))
    return found


def newest_score_ms(db: Database, slot: SlotName) -> int:
    """Return the time of the newest score of a slot that has any, ms."""
    query = f"SELECT max(at_ms) FROM journal WHERE slot = ? AND kind = '{SCORED}'"  # noqa: S608
    newest: int = db.read(query, (str(slot),))[0][0]
    return newest


def remove_scores(db: Database, slot: SlotName, before_ms: int, limit: int) -> int:
    """Remove the oldest scores of a slot; return how many of at most `limit` went."""
    return _remove(
        db,
        f"SELECT seq FROM journal WHERE slot = ? AND kind = '{SCORED}' AND at_ms < ?"  # noqa: S608
        " ORDER BY at_ms LIMIT ?",
        (str(slot), before_ms, limit),
    )


def remove_chatter(db: Database, before_ms: int, limit: int) -> int:
    """Remove the oldest entries of the kinds that clients can cause in large numbers."""
    return _remove(
        db,
        f"SELECT seq FROM journal WHERE {_CHATTER} AND at_ms < ? ORDER BY at_ms LIMIT ?",  # noqa: S608
        (before_ms, limit),
    )


def remove_others(db: Database, before_ms: int, limit: int) -> int:
    """Remove the oldest of all other entries, moves of a pointer excepted."""
    return _remove(
        db,
        "SELECT seq FROM journal WHERE at_ms < ? AND kind NOT IN (?, ?) ORDER BY at_ms LIMIT ?",
        (before_ms, SCORED, POINTER_MOVED, limit),
    )


def _remove(db: Database, which: str, values: tuple[Any, ...]) -> int:
    with db.writing() as connection:
        return connection.execute(f"DELETE FROM journal WHERE seq IN ({which})", values).rowcount  # noqa: S608
