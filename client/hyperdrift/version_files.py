"""Read the files of one model version, so that what is wrong with it is a `VersionRefused`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperdrift.errors import VersionRefused
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import certificate_fault
from retrain import artifact
from retrain.errors import ArtifactError
from retrain.manifest import Manifest, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version as a list shows it; `problem` says why it cannot be used, if it cannot."""

    model_id: str
    trained_at_utc: str = ""
    live: bool = False
    previous: bool = False
    passed: bool = False
    promoted_by: str | None = None
    refused_by: tuple[str, ...] = ()
    test_accuracy: float | None = None
    skill: float | None = None
    problem: str = ""


def read(path: Path) -> Manifest:
    """Read a manifest."""
    try:
        return artifact.read_manifest(path)
    except ArtifactError as e:
        raise VersionRefused("", f"{e}; `hyperdrift models rollback` goes back") from e


def check_files(manifest: Manifest, folder: Path) -> dict[str, bytes]:
    """Compare every file with its digest; return the contents."""
    try:
        return artifact.check_files(manifest, folder)
    except ArtifactError as e:
        raise VersionRefused(manifest.model_id, str(e)) from e


def read_certificate(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """Read the training_meta of a version, after comparing its digest."""
    try:
        return artifact.training_meta(manifest, folder)
    except (ArtifactError, ValueError) as e:
        raise VersionRefused(manifest.model_id, str(e)) from e


def check_slot(manifest: Manifest, slot: SlotName) -> None:
    """Refuse a model of another coin or interval."""
    if manifest.slot != str(slot):
        reason = f"it is a model of {manifest.slot}, not of {slot}"
        raise VersionRefused(manifest.model_id, reason)


def document_of(path: Path) -> dict[str, Any] | None:
    """Return a pointer's content, or None where there is none that can be read."""
    try:
        return dict(artifact.read_manifest(path).document)
    except ArtifactError:
        return None


def deployed_ms(document: Mapping[str, Any]) -> int:
    """Return when a pointer was moved to what it says, ms UTC; 0 if it does not say."""
    return parse(document).deployed_ms if document else 0


def describe(path: Path, model_id: str) -> VersionInfo:
    """Read what a list shows; digests of the model file are left to `verify`."""
    try:
        manifest = read(path)
        meta = read_certificate(manifest, path.parent)
    except VersionRefused as e:
        return VersionInfo(model_id=model_id, problem=e.reason)
    test = (meta.get("scores") or {}).get("test") or {}
    gates = [gate for gate in meta.get("gates", []) if isinstance(gate, dict)]
    return VersionInfo(
        model_id=model_id,
        trained_at_utc=str(manifest.document.get("trained_at_utc", "")),
        passed=certificate_fault(meta) is None,
        refused_by=tuple(str(g.get("name")) for g in gates if g.get("passed") is not True),
        test_accuracy=(test.get("decisions") or {}).get("accuracy"),
        skill=test.get("skill"),
    )
