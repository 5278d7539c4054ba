"""What was done to a slot's versions, in the journal: what went live, what was removed, by whom."""

from collections.abc import Sequence
from typing import Any

from daemon.store import journal_table
from daemon.store.journal_kinds import POINTER_MOVED, VERSIONS_PRUNED
from daemon.store.store import Store
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName


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
    entry = journal_table.newest(store.database, slot, POINTER_MOVED)
    return entry.body if entry else None


def note_pruned(
    store: Store, slot: SlotName, at_ms: int, removed: Sequence[str], *, keep: int, by: str
) -> None:
    """Write down which versions were removed."""
    entry = {"removed": list(removed), "keep": keep, "by": by}
    store.append_journal(slot, at_ms, VERSIONS_PRUNED, entry)
