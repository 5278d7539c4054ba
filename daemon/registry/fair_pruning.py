"""Keep the versions of all slots within a limit: the slot that takes most gives up first."""

import contextlib
import os
from pathlib import Path
from typing import Final

from daemon.registry.registry import Registry
from daemon.registry.version_info import slots_in
from hyperdrift.slot_name import SlotName

MOST_BYTES: Final = 4 * 2**30
"""Bytes that the versions of all slots may take: thirty versions of some 150 slots."""
LEAST_VERSIONS: Final = 3
"""So many of the newest versions every slot keeps, besides what `Registry.prune` never removes."""


def prune_all(
    registry: Registry, models: Path, most_bytes: int = MOST_BYTES
) -> dict[SlotName, tuple[str, ...]]:
    """Remove the oldest version and backup of the slot that takes most, until all fit.

    Folders that are not named as a slot are a person's, and do not count.

    Args:
        registry: Removes them.
        models: Its folder.
        most_bytes: Bytes that all may take.

    Returns:
        The removed versions, by slot.
    """
    slots = list(slots_in(models))
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
    found: dict[int, int] = {}
    # Other retrains prune and adopt meanwhile: what is gone by now takes nothing.
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = Path(place, name).stat()
                found[status.st_ino] = status.st_size
    return sum(found.values())
