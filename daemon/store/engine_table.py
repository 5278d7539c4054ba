"""Keep one state of each slot's engine, with the last journal entry that it has handled."""

from typing import NamedTuple

from daemon.store.database import Database
from hyperdrift.slot_name import SlotName


class KeptEngine(NamedTuple):
    """A row of the table.

    Attributes:
        seq: The newest entry of the journal that the engine has handled.
        first_t: Open time of the first bar that the engine was given, ms UTC.
        before: How many older bars were stored then.
        key: What the state was made with; another version or setting has another key.
        state: The state.
    """

    seq: int
    first_t: int
    before: int
    key: str
    state: bytes


def keep(db: Database, slot: SlotName, engine: KeptEngine) -> None:
    """Write a state in place of the slot's last one; a `seq` of 0 becomes the journal's newest.

    Raises:
        StoreUnavailable: If the disk is full or the file not writable.
    """
    with db.writing() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO engines (slot, seq, first_t, before, key, state)"
            " SELECT ?, coalesce(nullif(?, 0), max(seq), 0), ?, ?, ?, ? FROM journal",
            (str(slot), *engine),
        )


def kept(db: Database, slot: SlotName) -> KeptEngine | None:
    """Return the state of a slot, None if none was kept."""
    rows = db.read(
        "SELECT seq, first_t, before, key, state FROM engines WHERE slot = ?", (str(slot),)
    )
    return KeptEngine(*rows[0]) if rows else None
