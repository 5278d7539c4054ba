"""Record in the journal which versions of a slot went live or were removed, and by whom."""

from collections.abc import Sequence
from typing import Any

from daemon.store import journal_table
from daemon.store.journal_kinds import POINTER_MOVED, VERSIONS_PRUNED
from daemon.store.store import Store
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName


def note(store: Store, slot: SlotName, manifest: Manifest, at_ms: int) -> None:
    """Record the move that made `manifest` live, unless it is recorded already.

    The pointer contains who moved it and why. So if the daemon crashes after the move and
    before this entry, the next start writes the entry.

    Args:
        store: Holds the journal.
        slot: The slot of the pointer.
        manifest: The pointer as it is now.
        at_ms: The time of the entry, ms UTC, by the same clock as other entries.
    """
    known = newest(store, slot)
    if known is not None and int(known["deployed_ms"]) >= manifest.deployed_ms:
        return
    deployed = dict(manifest.document.get("deployed", {}))
    entry = {
        "action": deployed.get("action", "deploy"),
        "model_id": manifest.model_id,
        "previous_id": deployed.get("previous"),
        "by": deployed.get("by", ""),
        "reason": deployed.get("reason", ""),
        "promoted_by": manifest.promoted_by,
        "deployed_ms": manifest.deployed_ms,
    }
    store.append_journal(slot, at_ms, POINTER_MOVED, entry)


def newest(store: Store, slot: SlotName) -> dict[str, Any] | None:
    """Return the newest recorded move, None if there is none."""
    entry = journal_table.newest(store.database, slot, POINTER_MOVED)
    return entry.body if entry else None


def note_pruned(
    store: Store, slot: SlotName, at_ms: int, removed: Sequence[str], *, keep: int, by: str
) -> None:
    """Record which versions were removed."""
    entry = {"removed": list(removed), "keep": keep, "by": by}
    store.append_journal(slot, at_ms, VERSIONS_PRUNED, entry)
