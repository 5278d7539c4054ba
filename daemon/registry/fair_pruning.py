"""Keep the versions of all slots within a limit: the slot that takes most gives up first."""

from pathlib import Path
from typing import Final

from daemon.registry.registry import Registry
from hyperdrift.slot_name import SlotName

MOST_BYTES: Final = 4 * 2**30
"""Bytes that the versions of all slots may take: thirty versions of some 150 slots."""
LEAST_VERSIONS: Final = 3
"""So many of the newest versions every slot keeps, besides what `Registry.prune` never removes."""


def prune_all(
    registry: Registry, models: Path, most_bytes: int = MOST_BYTES
) -> dict[SlotName, tuple[str, ...]]:
    """Remove the oldest version and backup of the slot that takes most, until all fit.

    Args:
        registry: Removes them.
        models: Its folder.
        most_bytes: Bytes that all may take.

    Returns:
        The removed versions, by slot.
    """
    slots = [SlotName.parse(folder.name) for folder in models.glob("*-*") if folder.is_dir()]
    size = {slot: _bytes_in(registry.folder(slot)) for slot in slots}
    removed: dict[SlotName, tuple[str, ...]] = {}
    keep: dict[SlotName, int] = {}
    while sum(size.values()) > most_bytes:
        able = [slot for slot in slots if keep.get(slot, LEAST_VERSIONS + 1) > LEAST_VERSIONS]
        if not able:
            break
        slot = max(able, key=lambda slot: size[slot])
        keep[slot] = keep.get(slot, len(registry.versions(slot))) - 1
        if keep[slot] >= LEAST_VERSIONS:
            removed[slot] = removed.get(slot, ()) + registry.prune(slot, keep[slot])
            size[slot] = _bytes_in(registry.folder(slot))
    return {slot: gone for slot, gone in removed.items() if gone}


def _bytes_in(folder: Path) -> int:
    """Return how many bytes the files take; a file and its links in backup/ count once."""
    found = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum({status.st_ino: status.st_size for status in found}.values())
