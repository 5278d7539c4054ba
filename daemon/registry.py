"""The model folders: which versions exist, which one is live, and how that changes.

Version files never change and are never overwritten. `LATEST.json` is the only file
that is replaced, in one step and last, so a reader sees the old version or the new one
and never a mixture, whatever is killed in between. The pointer carries the versions
that were live before it, so going back needs no second file that could disagree.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon import version_files
from daemon.admission import certificate_fault
from daemon.bars import SlotName
from daemon.durable import Files
from daemon.errors import VersionRefused
from daemon.signing import Signer
from daemon.version_files import VersionInfo
from retrain.manifest import Manifest, manifest_name, parse, stamp

POINTER = "LATEST.json"
# Enough to go back through a bad month; the rest of the history is in backup/.
LINEAGE = 20


class Registry:
    """All slots' versions under one folder. Synchronous: call it from a thread.

    Args:
        models_dir: Holds one folder per slot.
        signer: Signs each pointer; None leaves them unsigned.
        files: The file operations, replaced in tests that pull the plug.
    """

    def __init__(
        self, models_dir: Path, signer: Signer | None = None, files: Files | None = None
    ) -> None:
        self._root, self._signer, self._files = models_dir.absolute(), signer, files or Files()

    def folder(self, slot: SlotName) -> Path:
        """Return where the slot's versions are."""
        return self._root / str(slot)

    def pointer(self, slot: SlotName) -> Path:
        """Return the path of the slot's LATEST.json, which may not exist."""
        return self.folder(slot) / POINTER

    def manifest_path(self, slot: SlotName, model_id: str) -> Path:
        """Return the path of a version's own manifest, which may not exist."""
        return self.folder(slot) / manifest_name(model_id)

    def adopt(self, slot: SlotName, manifest_path: Path) -> str:
        """Copy a candidate into the slot's folder, live or not; return its model id.

        The manifest comes last, so a version that is listed is whole. Adopting the same
        candidate again changes nothing.

        Raises:
            VersionRefused: If a file is not as its digest says, or another one has its name.
        """
        manifest, folder = version_files.read(manifest_path), self.folder(slot)
        version_files.check_slot(manifest, slot)
        contents = version_files.check_files(manifest, manifest_path.parent)
        for path in manifest_path.parent.glob(f"*_{manifest.model_id}.*"):
            if path != manifest_path:  # what was made beside it, such as a drift calibration
                contents.setdefault(path.name, path.read_bytes())
        self._files.make_folder(folder)
        for name, content in contents.items():
            self._create(manifest.model_id, folder / name, content)
        own = folder / manifest_name(manifest.model_id)
        self._create(manifest.model_id, own, manifest_path.read_bytes())
        return manifest.model_id

    def live(self, slot: SlotName) -> Manifest | None:
        """Return the manifest of the live version, None before the first deploy.

        Raises:
            VersionRefused: If LATEST.json is damaged.
        """
        path = self.pointer(slot)
        return version_files.read(path) if path.exists() else None

    def previous(self, slot: SlotName) -> str | None:
        """Return the version that a rollback would go back to, if there is one."""
        return next(iter(self._lineage(slot)), None)

    def verify(self, slot: SlotName, model_id: str) -> Manifest:
        """Compare every file of a version with its digest.

        Raises:
            VersionRefused: If it does not exist or a file is missing, damaged or foreign.
        """
        path = self.manifest_path(slot, model_id)
        manifest = version_files.read(path)
        version_files.check_slot(manifest, slot)
        version_files.check_files(manifest, path.parent)
        return manifest

    def versions(self, slot: SlotName) -> tuple[VersionInfo, ...]:
        """Return every version of the slot, newest first, damaged ones included."""
        pointer, previous = self._pointer_or_backup(slot), self.previous(slot)
        live = None if self._lost(slot) else pointer.get("model_id")
        found = []
        for path in sorted(self.folder(slot).glob(manifest_name("*")), reverse=True):
            model_id = path.stem.removeprefix("manifest_")
            promoted_by = pointer.get("promoted_by") if model_id == live else None
            found.append(
                replace(
                    version_files.describe(path, model_id),
                    live=model_id == live,
                    previous=model_id == previous,
                    promoted_by=promoted_by,
                )
            )
        return tuple(found)

    def deploy(
        self,
        slot: SlotName,
        model_id: str,
        *,
        reason: str,
        by: str,
        at_ms: int,
        promoted_by: str | None = None,
    ) -> Manifest:
        """Make a version live and return its pointer; the previous one goes to backup/.

        Args:
            slot: Whose model.
            model_id: An adopted version.
            reason: Why, for the record.
            by: Who or what decided, for the record.
            at_ms: When, ms UTC; names the backup.
            promoted_by: The operator who puts it live although its gates refused it.

        Raises:
            VersionRefused: If a digest is wrong, or a gate refused it and nobody promoted it.
        """
        manifest = self.verify(slot, model_id)
        if promoted_by is None:
            self._check_certificate(slot, manifest)
        pointer = self._pointer_or_backup(slot)
        current = pointer.get("model_id")
        lineage = [m for m in pointer.get("lineage", []) if m != model_id]
        if current and current != model_id:
            lineage = [current, *[m for m in lineage if m != current]]
        deployed = {"at_ms": at_ms, "reason": reason, "by": by}
        return self._put_live(slot, manifest, lineage[:LINEAGE], promoted_by, deployed)

    def rollback(
        self, slot: SlotName, to: str | None = None, *, reason: str, by: str, at_ms: int
    ) -> Manifest:
        """Put an earlier version back live and return its pointer.

        Without `to` it is the newest that was live before this one and is intact. The
        versions gone back over are not previous ones afterwards: a second rollback goes
        further back and never returns to what the first one left.

        Raises:
            VersionRefused: If there is no such version, or it is damaged.
        """
        lineage = self._lineage(slot)
        manifest = self.verify(slot, to) if to else self._newest_intact(slot, lineage)
        promoted_by = self._promoted_by(slot, manifest.model_id)
        if promoted_by is None:
            self._check_certificate(slot, manifest)
        older = lineage
        if manifest.model_id in lineage:
            older = lineage[lineage.index(manifest.model_id) + 1 :]
        deployed = {"at_ms": at_ms, "reason": reason, "by": by}
        return self._put_live(slot, manifest, older, promoted_by, deployed)

    def prune(self, slot: SlotName, keep: int) -> tuple[str, ...]:
        """Remove all but the newest `keep` versions and backups; return what was removed.

        The live version and the one a rollback would go to are never removed.
        """
        spared = {self.previous(slot), self._pointer_or_backup(slot).get("model_id")}
        removed = []
        for info in self.versions(slot)[keep:]:
            if info.model_id in spared:
                continue
            # The manifest first: a version that is listed is whole.
            self._files.remove(self.folder(slot) / manifest_name(info.model_id))
            for path in self.folder(slot).glob(f"*_{info.model_id}.*"):
                self._files.remove(path)
            removed.append(info.model_id)
        for backup in self._backups(slot)[keep:]:
            self._files.remove(backup)
        return tuple(removed)

    def _put_live(
        self,
        slot: SlotName,
        manifest: Manifest,
        lineage: list[str],
        promoted_by: str | None,
        deployed: Mapping[str, object],
    ) -> Manifest:
        """Back up the pointer and its files, then replace the pointer."""
        document = {
            **manifest.document,
            "promoted_by": promoted_by,
            "lineage": lineage,
            "deployed": deployed,
        }
        if self._signer is not None:
            document["signature"] = self._signer.sign(document)
        self._back_up(slot, int(str(deployed["at_ms"])))
        self._files.replace(self.pointer(slot), json.dumps(document, indent=1).encode() + b"\n")
        return parse(document)

    def _back_up(self, slot: SlotName, at_ms: int) -> None:
        """Keep the live pointer and its files under second names, complete or not at all."""
        folder, pointer = self.folder(slot), self.pointer(slot)
        if not pointer.exists():
            return
        root = folder / "backup"
        while (target := root / stamp(at_ms)).exists():
            at_ms += 1000  # two deploys in one second
        aside = root / f".{target.name}.partial"
        self._files.remove(aside)
        self._files.make_folder(aside)
        self._files.link(pointer, aside / POINTER)
        document = version_files.document_of(pointer) or {}
        names = [*document.get("sha256", {}), manifest_name(str(document.get("model_id", "")))]
        for name in names:
            if (folder / name).is_file():  # a lost file must not prevent the way out
                self._files.link(folder / name, aside / name)
        self._files.sync_folder(aside)
        self._files.rename(aside, target)
        self._files.sync_folder(root)

    def _create(self, model_id: str, path: Path, content: bytes) -> None:
        try:
            self._files.create(path, content)
        except FileExistsError as e:
            if path.read_bytes() != content:
                reason = f"{path.name} exists with another content; versions are never overwritten"
                raise VersionRefused(model_id, reason) from e

    def _check_certificate(self, slot: SlotName, manifest: Manifest) -> None:
        if (
            reason := certificate_fault(version_files.read_certificate(manifest, self.folder(slot)))
        ) is not None:
            raise VersionRefused(manifest.model_id, f"{reason}; promote it by hand if it must be")

    def _newest_intact(self, slot: SlotName, lineage: list[str]) -> Manifest:
        problems = []
        for model_id in lineage:
            try:
                return self.verify(slot, model_id)
            except VersionRefused as e:
                problems.append(str(e))
        why = "; ".join(problems) or "no other version was ever live"
        raise VersionRefused("", f"there is nothing to roll back to: {why}")

    def _lineage(self, slot: SlotName) -> list[str]:
        """Return what was live before the live version, newest first."""
        pointer = self._pointer_or_backup(slot)
        lineage = [str(model_id) for model_id in pointer.get("lineage", [])]
        if self._lost(slot) and pointer:
            return [str(pointer.get("model_id")), *lineage]
        return lineage

    def _lost(self, slot: SlotName) -> bool:
        return version_files.document_of(self.pointer(slot)) is None

    def _pointer_or_backup(self, slot: SlotName) -> dict[str, Any]:
        """Return the live pointer, the newest readable backup of one if damaged, else {}."""
        for path in (self.pointer(slot), *(b / POINTER for b in self._backups(slot))):
            if (document := version_files.document_of(path)) is not None:
                return document
        return {}

    def _promoted_by(self, slot: SlotName, model_id: str) -> str | None:
        """Return who once put this version live by hand."""
        for backup in self._backups(slot):
            document = version_files.document_of(backup / POINTER)
            if document is not None and document.get("model_id") == model_id:
                return document.get("promoted_by")
        return None

    def _backups(self, slot: SlotName) -> list[Path]:
        return sorted((self.folder(slot) / "backup").glob("[0-9]*"), reverse=True)
