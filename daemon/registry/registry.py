"""The model folders: which versions exist, which one is live, and how that changes.

Version files never change and are never overwritten. `LATEST.json` is the only file that is
replaced, in one step and last. So a reader sees the old version or the new one, never a
mixture, even after a crash. The pointer lists the versions that were live before, so a
rollback needs no second file that could disagree with it.
"""

import functools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

from daemon.core.atomic_files import Files
from daemon.registry.latest_pointer import Move, Pointer
from daemon.registry.signing import KeyRing, Signer
from daemon.registry.version_info import VersionInfo, describe, served_form
from hyperdrift import version_files
from hyperdrift.errors import VersionRefused
from hyperdrift.loaded_model import LoadedModel, load
from hyperdrift.manifest import Manifest, manifest_name
from hyperdrift.process.loading import gc_paused
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import certificate_fault
from retrain.errors import ArtifactError

_VERSION_FILE: Final = re.compile(r".+_(\d{8}_\d{6}_[0-9a-f]+)(\.[a-z]+)+")

P = ParamSpec("P")
R = TypeVar("R")


def _one_at_a_time(
    method: Callable[Concatenate["Registry", P], R],
) -> Callable[Concatenate["Registry", P], R]:
    """Let only one thread at a time change the folders.

    Otherwise one thread could prune a version while another makes it live.
    """

    @functools.wraps(method)
    def guarded(self: "Registry", /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.lock:
            return method(self, *args, **kwargs)

    return guarded


class Registry:
    """The versions of all slots under one folder. It blocks: call it from a thread.

    Args:
        models_dir: Holds one folder per slot.
        signer: Signs each version and each pointer; None leaves them unsigned.
        ring: The keys that versions and pointers must be signed with; None requires none.
        files: The file operations; tests replace them to simulate a power cut.
    """

    def __init__(
        self,
        models_dir: Path,
        signer: Signer | None = None,
        files: Files | None = None,
        *,
        ring: KeyRing | None = None,
    ) -> None:
        self._root, self._signer, self._files = models_dir.absolute(), signer, files or Files()
        self._ring = ring
        self.lock = threading.RLock()

    def folder(self, slot: SlotName) -> Path:
        """Return the folder of the slot's versions."""
        return self._root / str(slot)

    def pointer(self, slot: SlotName) -> Path:
        """Return the path of the slot's LATEST.json, which may not exist."""
        return self._pointer(slot).path

    def manifest_path(self, slot: SlotName, model_id: str) -> Path:
        """Return the path of a version's own manifest, which may not exist."""
        return self.folder(slot) / manifest_name(model_id)

    @_one_at_a_time
    def adopt(self, slot: SlotName, manifest_path: Path) -> str:
        """Copy a candidate into the slot's folder; return its model id. It is not live yet.

        The manifest is written last, so each listed version is complete. A second call for
        the same candidate changes nothing.

        Raises:
            VersionRefused: If a file does not match its digest, or another file has its name.
        """
        manifest, folder = version_files.read_manifest(manifest_path), self.folder(slot)
        version_files.check_slot(manifest, slot)
        contents = version_files.check_files(manifest, manifest_path.parent)
        for path in manifest_path.parent.glob(f"*_{manifest.model_id}.*"):
            # Files made later, such as a drift calibration. A link could lead to a key.
            if path != manifest_path and path.is_file() and not path.is_symlink():
                contents.setdefault(path.name, path.read_bytes())
        self._files.make_folder(folder)
        for name, content in contents.items():
            self._create(manifest.model_id, folder / name, content)
        own = folder / manifest_name(manifest.model_id)
        self._create(manifest.model_id, own, self._signed(manifest))
        return manifest.model_id

    def live(self, slot: SlotName) -> Manifest | None:
        """Return the manifest of the live version, None before the first deploy.

        Raises:
            VersionRefused: If LATEST.json is damaged or not signed by a trusted key.
        """
        return self._pointer(slot).read()

    def renew(self, slot: SlotName) -> Manifest | None:
        """Return what `live` does, after signing it again if the key has changed.

        Raises:
            VersionRefused: If LATEST.json is damaged or not signed by a trusted key.
        """
        return self._pointer(slot).renew()

    def previous(self, slot: SlotName) -> str | None:
        """Return the version that a rollback would make live, None if there is none."""
        return next(iter(self._pointer(slot).lineage()), None)

    def left_by_hand(self, slot: SlotName) -> tuple[str, ...]:
        """Return the versions that operators left by rollbacks, newest first."""
        return self._pointer(slot).left_by_hand()

    def verify(self, slot: SlotName, model_id: str) -> Manifest:
        """Check a version's signature, then compare every file with its digest.

        Raises:
            VersionRefused: If it does not exist, no trusted key signed it, or a file is
                missing or damaged.
        """
        return self._checked(slot, model_id)[0]

    def _checked(self, slot: SlotName, model_id: str) -> tuple[Manifest, dict[str, bytes]]:
        """Return a version as it was checked: what is read again may be another one."""
        path = self.manifest_path(slot, model_id)
        manifest = version_files.read_manifest(path)
        if manifest.model_id != model_id:
            raise VersionRefused(model_id, f"{path.name} is the manifest of {manifest.model_id}")
        version_files.check_slot(manifest, slot)
        self._pointer(slot).check_trusted(manifest)
        return manifest, version_files.check_files(manifest, path.parent)

    def load(self, slot: SlotName, model_id: str) -> LoadedModel:
        """Load a version, after `verify`.

        Raises:
            VersionRefused: If `verify` refuses it.
            ArtifactError: If it cannot be loaded.
        """
        manifest, contents = self._checked(slot, model_id)
        with gc_paused():
            return load(manifest, contents, served_form(manifest))

    def way_back(self, slot: SlotName, to: str, *, at_last: bool = False) -> LoadedModel:
        """Load `to`; if it is damaged, load the newest intact version that was live before.

        Args:
            slot: The slot of the model.
            to: The version that is wanted.
            at_last: Whether, before there is no model at all, it may be a version that an operator
                left by a rollback.

        Raises:
            VersionRefused: If there is none.
        """
        pointer, problems = self._pointer(slot), []
        left = pointer.left_by_hand() if at_last else ()
        for model_id in dict.fromkeys([to, *pointer.lineage(), *left]):
            try:
                return self.load(slot, model_id)
            except (VersionRefused, ArtifactError) as e:
                problems.append(str(e))
        raise VersionRefused(to, f"there is nothing to roll back to: {'; '.join(problems)}")

    def versions(self, slot: SlotName) -> tuple[VersionInfo, ...]:
        """Return every version of the slot, newest first, damaged ones included."""
        pointer = self._pointer(slot)
        previous, newest = self.previous(slot), pointer.newest()
        live = None if pointer.lost() else newest.get("model_id")
        found = []
        for path in sorted(self.folder(slot).glob(manifest_name("*")), reverse=True):
            model_id = path.stem.removeprefix("manifest_")
            promoted_by = newest.get("promoted_by") if model_id == live else None
            found.append(
                replace(
                    describe(path, model_id),
                    live=model_id == live,
                    previous=model_id == previous,
                    promoted_by=promoted_by,
                )
            )
        return tuple(found)

    @_one_at_a_time
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
        """Make a version live and return its pointer; the previous pointer goes to backup/.

        Args:
            slot: The slot of the model.
            model_id: An adopted version.
            reason: Why; it is recorded.
            by: Who or what decided; it is recorded.
            at_ms: When, ms UTC; names the backup.
            promoted_by: The operator who promotes a version that its gates refused.

        Raises:
            VersionRefused: If a digest is wrong, or a gate refused it and nobody promoted it.
        """
        manifest, pointer = self.verify(slot, model_id), self._pointer(slot)
        if promoted_by is None:
            self._check_certificate(slot, manifest)
        newest = pointer.newest()
        current = newest.get("model_id")
        lineage = [m for m in newest.get("lineage", []) if m != model_id]
        if current and current != model_id:
            lineage = [current, *[m for m in lineage if m != current]]
        action = "deploy" if promoted_by is None else "promote"
        left = tuple(m for m in pointer.left_by_hand() if m != model_id)
        move = Move(action=action, by=by, reason=reason, at_ms=at_ms, left_by_hand=left)
        return pointer.move(manifest, move, lineage=lineage, promoted_by=promoted_by)

    @_one_at_a_time
    def rollback(
        self,
        slot: SlotName,
        to: str | None = None,
        *,
        reason: str,
        by: str,
        at_ms: int,
        by_hand: bool = False,
    ) -> Manifest:
        """Make an earlier version live again and return its pointer.

        Without `to` it is the newest intact version that was live before. A rollback removes
        the versions that it skips from the list of previous ones. So a second rollback goes
        further back and never returns to the version that the first one left. What an operator
        leaves (`by_hand`) is listed apart: see `way_back`.

        Raises:
            VersionRefused: If there is no such version, or it is damaged.
        """
        pointer = self._pointer(slot)
        lineage = pointer.lineage()
        manifest = self.verify(slot, to) if to else self._newest_intact(slot, lineage)
        promoted_by = pointer.promoted_by(manifest.model_id)
        if promoted_by is None:
            self._check_certificate(slot, manifest)
        older, left = pointer.beyond(manifest.model_id, by_hand=by_hand)
        move = Move(action="rollback", by=by, reason=reason, at_ms=at_ms, left_by_hand=left)
        return pointer.move(manifest, move, lineage=older, promoted_by=promoted_by)

    @_one_at_a_time
    def prune(self, slot: SlotName, keep: int) -> tuple[str, ...]:
        """Remove all but the newest `keep` versions and backups; return the removed versions.

        Three versions are never removed: the live one, the previous one, and the newest intact
        one that passed its gates. The previous one is the shadow during probation.
        """
        pointer = self._pointer(slot)
        live = pointer.newest().get("model_id")
        spared = {live, self.previous(slot), self._last_good(slot, live)}
        removed = []
        for info in self.versions(slot)[keep:]:
            if info.model_id not in spared:
                # The manifest is removed first, so each listed version is complete.
                self._files.remove(self.manifest_path(slot, info.model_id))
                removed.append(info.model_id)
        self._sweep(slot)
        pointer.prune_backups(keep)
        return tuple(removed)

    def _sweep(self, slot: SlotName) -> None:
        """Remove files of versions that have no manifest, such as those left by a crash."""
        for path in sorted(self.folder(slot).glob("*_*")):
            match = _VERSION_FILE.fullmatch(path.name)
            if match and not self.manifest_path(slot, match[1]).exists():
                self._files.remove(path)

    def _last_good(self, slot: SlotName, live: str | None) -> str | None:
        for model_id in [live, *self._pointer(slot).lineage()]:
            try:
                if model_id is not None:
                    self._check_certificate(slot, self.verify(slot, model_id))
                    return model_id
            except VersionRefused:
                continue
        return None

    def _pointer(self, slot: SlotName) -> Pointer:
        return Pointer(self.folder(slot), self._files, self._signer, self._ring)

    def _signed(self, manifest: Manifest) -> bytes:
        """Return a version's manifest as JSON to store, signed if there is a signer."""
        document = dict(manifest.document)
        if self._signer is not None:
            document["signature"] = self._signer.sign(document)
        return json.dumps(document, indent=1).encode() + b"\n"

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
