"""What lists say of versions, even of damaged ones, and which form of a version is served."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperdrift.errors import BadInput, VersionRefused
from hyperdrift.manifest import Manifest
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import certificate_fault
from hyperdrift.version_files import read_certificate, read_manifest
from retrain.labels import NEUTRAL


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version in a list; `problem` says why it cannot be used, empty if it can.

    On the test block: `test_accuracy` of the most probable class, `signal_share` of the bars with
    a signal, `win_rate` of these, `mean_return` of one after fees, a fraction.
    """

    model_id: str
    trained_at_utc: str = ""
    live: bool = False
    previous: bool = False
    passed: bool = False
    promoted_by: str | None = None
    refused_by: tuple[str, ...] = ()
    test_accuracy: float | None = None
    signal_share: float | None = None
    win_rate: float | None = None
    mean_return: float | None = None
    skill: float | None = None
    problem: str = ""


def slots_in(models: Path) -> Iterator[SlotName]:
    """Yield the slots that have a folder, by name; others do not count."""
    for folder in sorted(models.glob("*-*")):
        with contextlib.suppress(BadInput):
            if folder.is_dir():
                yield SlotName.parse(folder.name)


def describe(path: Path, model_id: str) -> VersionInfo:
    """Read a version for a list; only `Registry.verify` checks the digests of its files."""
    try:
        manifest = read_manifest(path)
        meta = read_certificate(manifest, path.parent)
    except VersionRefused as e:
        return VersionInfo(model_id=model_id, problem=e.reason)
    test = (meta.get("scores") or {}).get("test") or {}
    decided = test.get("decisions") or {}
    neutral = (decided.get("shares") or [None] * 3)[NEUTRAL]
    gates = [gate for gate in meta.get("gates", []) if isinstance(gate, dict)]
    return VersionInfo(
        model_id=model_id,
        trained_at_utc=str(manifest.document.get("trained_at_utc", "")),
        passed=certificate_fault(meta) is None,
        refused_by=tuple(str(g.get("name")) for g in gates if g.get("passed") is not True),
        test_accuracy=(test.get("argmax") or {}).get("accuracy"),
        signal_share=None if neutral is None else 1 - neutral,
        win_rate=decided.get("win_rate"),
        mean_return=decided.get("expectancy"),
        skill=test.get("skill"),
    )


def served_form(manifest: Manifest) -> str:
    """Return the form that the daemon loads: the portable one, whose libraries are its own.

    The joblib is for bots; its scikit-learn may be another one. Only versions that were made
    before there was a portable form are loaded from it.
    """
    return "onnx" if "onnx" in manifest.forms else "joblib"


def signals_told(info: Mapping[str, Any]) -> str:
    """Return what the signals of a version did on its test block, as text.

    Args:
        info: The fields of a `VersionInfo`.
    """
    if info["signal_share"] is None:
        return "not known"
    if info["win_rate"] is None:
        return "none"
    return (
        f"{info['signal_share']:.1%} of test bars, {info['win_rate']:.1%} won, "
        f"mean return after fees {info['mean_return']:+.2%}"
    )
