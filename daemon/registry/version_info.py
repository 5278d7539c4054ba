"""Describe one version of a slot for lists, even if its files are damaged."""

from dataclasses import dataclass
from pathlib import Path

from hyperdrift.errors import VersionRefused
from hyperdrift.verification import certificate_fault
from hyperdrift.version_files import read_certificate, read_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version in a list; `problem` says why it cannot be used, empty if it can."""

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


def describe(path: Path, model_id: str) -> VersionInfo:
    """Read a version for a list; only `Registry.verify` checks the digests of its files."""
    try:
        manifest = read_manifest(path)
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
