"""What was done to a slot's versions, in the journal: what went live, what was removed, by whom."""

from collections.abc import Sequence
from typing import Any, Final

from daemon.store.journal_table import POINTER_MOVED
from daemon.store.store import Store
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName

__all__ = ["POINTER_MOVED", "PRUNED", "newest", "note", "note_pruned"]

PRUNED: Final = "versions_pruned"


def note(store: Store, slot: SlotName, manifest: Manifest, at_ms: int) -> None:
    """Write down the move that made `manifest` live, unless it stands there already.

    The pointer itself says who moved it and why, so a crash between the move and this line
    loses nothing: the next start writes it.

    Args:
        store: The journal.
        slot: Whose pointer.
        manifest: The pointer as it is now.
        at_ms: The time of the entry, ms UTC, as other entries have it.
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
    """Return the newest move that was written down, None if there is none."""
    found = None
    for entry in store.journal(slot, kinds=[POINTER_MOVED]):
        found = entry.body
    return found


def note_pruned(
    store: Store, slot: SlotName, at_ms: int, removed: Sequence[str], *, keep: int, by: str
) -> None:
    """Write down which versions were removed."""
    entry = {"removed": list(removed), "keep": keep, "by": by}
    store.append_journal(slot, at_ms, PRUNED, entry)
