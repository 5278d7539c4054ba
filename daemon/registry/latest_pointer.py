"""Read, back up and move LATEST.json, the pointer of one slot.

The pointer is the only file that is ever replaced. Each move has a later time than the one
before, even if the wall clock steps back or the daemon restarts. Swap orders carry this time,
so a bot can tell an old order from a new one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from daemon.core.atomic_files import Files
from daemon.registry.signing import KeyRing, Signer
from hyperdrift import version_files
from hyperdrift.errors import VersionRefused
from hyperdrift.manifest import Manifest, manifest_name, parse, stamp

LATEST: Final = "LATEST.json"
# Enough rollbacks for a bad month. Older history is in backup/.
LINEAGE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of the live version: the action, the reason, who made it and when (ms UTC).

    `left_by_hand` are the versions that operators left by rollbacks, newest first.
    """

    action: str
    by: str
    reason: str
    at_ms: int
    left_by_hand: tuple[str, ...] = ()


class Pointer:
    """The pointer of the versions in `folder`.

    Args:
        folder: The folder of the slot's versions.
        files: The file operations.
        signer: Signs what is written; None leaves it unsigned.
        ring: The keys whose signatures are trusted; None trusts every file.
    """

    def __init__(
        self, folder: Path, files: Files, signer: Signer | None, ring: KeyRing | None
    ) -> None:
        self.folder, self.path = folder, folder / LATEST
        self._files, self._signer, self._ring = files, signer, ring

    def read(self) -> Manifest | None:
        """Return the manifest of the live version, None before the first deploy.

        Raises:
            VersionRefused: If the file is damaged or not signed by a trusted key.
        """
        if not self.path.exists():
            return None
        manifest = version_files.read_manifest(self.path)
        self.check_trusted(manifest)
        return manifest

    def check_trusted(self, manifest: Manifest) -> None:
        """Check the signature of a manifest, if keys were given.

        Raises:
            VersionRefused: If no trusted key signed it.
        """
        if self._ring is None or self._ring.signer_of(manifest.document) is not None:
            return
        what = "the signature of its manifest is not ours" if manifest.signature else "not signed"
        reason = f"{what}; another hand wrote it: `hyperdrift models rollback` goes back"
        raise VersionRefused(manifest.model_id, reason)

    def newest(self) -> dict[str, Any]:
        """Return the content of the pointer, else of its newest readable backup, else {}."""
        for path in (self.path, *(backup / LATEST for backup in self.backups())):
            if (document := self._trusted(path)) is not None:
                return document
        return {}

    def lost(self) -> bool:
        """Return whether neither the pointer nor a backup can be read."""
        return self._trusted(self.path) is None

    def lineage(self) -> list[str]:
        """Return the versions that were live before the live one, newest first."""
        newest = self.newest()
        lineage = [str(model_id) for model_id in newest.get("lineage", [])]
        return [str(newest["model_id"]), *lineage] if newest and self.lost() else lineage

    def left_by_hand(self) -> tuple[str, ...]:
        """Return the versions that operators left by rollbacks, newest first."""
        return tuple(map(str, self.newest().get("left_by_hand", [])))

    def beyond(self, model_id: str, *, by_hand: bool) -> tuple[list[str], tuple[str, ...]]:
        """Return what a rollback to a version makes of the two lists.

        Args:
            model_id: The version.
            by_hand: Whether an operator goes back, for whatever reason.

        Returns:
            The versions that were live before it, and those that operators left.
        """
        lineage, current = self.lineage(), self.newest().get("model_id")
        at = lineage.index(model_id) if model_id in lineage else -1
        skipped = [str(m) for m in (current, *lineage[: max(at, 0)]) if m]
        left = [m for m in self.left_by_hand() if m not in {*skipped, model_id}]
        return lineage[at + 1 :], tuple(skipped + left if by_hand else left)

    def promoted_by(self, model_id: str) -> str | None:
        """Return who promoted this version, None if nobody did."""
        for path in (self.path, *(backup / LATEST for backup in self.backups())):
            document = self._trusted(path)
            if document is not None and document.get("model_id") == model_id:
                return document.get("promoted_by")
        return None

    def backups(self) -> list[Path]:
        """Return the backup folders, newest first."""
        return sorted((self.folder / "backup").glob("[0-9]*"), reverse=True)

    def prune_backups(self, keep: int) -> None:
        """Remove all backups but the newest `keep`; each that is listed is complete."""
        for backup in self.backups()[keep:]:
            self._files.rename(backup, backup.with_name(f".{backup.name}.partial"))
        for leftover in (self.folder / "backup").glob(".*.partial"):
            self._files.remove(leftover)

    def move(
        self, manifest: Manifest, move: Move, *, lineage: list[str], promoted_by: str | None
    ) -> Manifest:
        """Back up the pointer and its files, then point to `manifest`; return the new pointer."""
        newest = self.newest()
        at_ms = max(move.at_ms, version_files.deployed_ms(newest) + 1)
        document = {
            **manifest.document,
            "promoted_by": promoted_by,
            "lineage": lineage[:LINEAGE],
            "left_by_hand": list(move.left_by_hand[:LINEAGE]),
            "deployed": {
                "at_ms": at_ms,
                "action": move.action,
                "reason": move.reason,
                "by": move.by,
                "previous": newest.get("model_id"),
            },
        }
        self._back_up(at_ms)
        return self._replace(document)

    def renew(self) -> Manifest | None:
        """Sign the pointer with the current key if it is not yet; return it.

        Bots know only the current key.

        Raises:
            VersionRefused: If the pointer is damaged or not signed by a trusted key.
        """
        manifest = self.read()
        if manifest is None or self._signer is None:
            return manifest
        if self._signer.sign(manifest.document) == manifest.signature:
            return manifest
        return self._replace(dict(manifest.document))

    def _replace(self, document: dict[str, Any]) -> Manifest:
        document.pop("signature", None)
        if self._signer is not None:
            document["signature"] = self._signer.sign(document)
        self._files.replace(self.path, json.dumps(document, indent=1).encode() + b"\n")
        return parse(document)

    def _back_up(self, at_ms: int) -> None:
        """Link the pointer and its files into a new backup folder, completely or not at all."""
        if not self.path.exists():
            return
        root = self.folder / "backup"
        while (target := root / stamp(at_ms)).exists():
            at_ms += 1000  # two moves in one second
        aside = root / f".{target.name}.partial"
        self._files.remove(aside)
        self._files.make_folder(aside)
        self._files.link(self.path, aside / LATEST)
        document = version_files.document_of(self.path) or {}
        names = [*document.get("sha256", {}), manifest_name(str(document.get("model_id", "")))]
        for name in names:
            if (self.folder / name).is_file():  # a lost file must not prevent the move
                self._files.link(self.folder / name, aside / name)
        self._files.sync_folder(aside)
        self._files.rename(aside, target)
        self._files.sync_folder(root)

    def _trusted(self, path: Path) -> dict[str, Any] | None:
        document = version_files.document_of(path)
        if document is None or self._ring is None or self._ring.signer_of(document):
            return document
        return None
