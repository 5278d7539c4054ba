"""Write a model version: the one module of this package that touches files.

A version is a handful of immutable files and a manifest that names them with their digests.
A reader compares every digest before it unpickles anything; the readers of
daemon and bots are in `hyperdrift.version_files`, a retrain reads only the live model here.
"""

import hashlib
import io
import json
import math
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import joblib
import sklearn

from retrain.champion import ChampionModel
from retrain.errors import ArtifactError
from retrain.manifest import (
    CLASS_ORDER,
    Version,
    manifest_name,
    model_id,
    stamp,
)

__all__ = [
    "ArtifactError",
    "Folder",
    "SelfTest",
    "Version",
    "manifest_name",
    "model_id",
    "read_champion",
    "save_model",
    "seal",
    "self_test",
    "stamp",
    "write",
]

GOLDEN_TOLERANCE: Final = 1e-9
Folder = Path
"""Where a version lies: what other modules of this package hand on without looking inside."""
_SELF_TEST_TIMEOUT_S: Final = 120.0
# The files of the live model that a retrain reads.
_OF_CHAMPION: Final = ("meta_classifier", "training_meta")
_SELF_TEST: Final = Path(__file__).with_name("selftest.py")


@dataclass(frozen=True)
class SelfTest:
    """The result of loading a saved model in a fresh interpreter; `error` is "" if all is well."""

    error: str
    difference: float = math.nan
    predict_ms: float = math.nan
    python: str = ""
    sklearn: str = ""

    @property
    def ok(self) -> bool:
        """True if the file loaded and reproduced the golden rows."""
        return not self.error and self.difference <= GOLDEN_TOLERANCE


def write(
    directory: Path, version: Version, meta: Mapping[str, Any], report: str
) -> dict[str, Any]:
    """Write a whole version and return its manifest (without `signature`).

    Args:
        directory: Created if missing.
        version: The model and its settings.
        meta: The certificate, content of training_meta; must carry `passed` and `gates`.
        report: A self-contained HTML page.
    """
    save_model(directory, version)
    return seal(directory, version, meta, report)


def save_model(directory: Path, version: Version) -> int:
    """Write model, feature columns and golden rows; return the size of the model in bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    files = version.files
    buffer = io.BytesIO()
    joblib.dump(version.model, buffer, compress=3)
    _write(directory / files["meta_classifier"], buffer.getvalue())
    columns = {"feature_cols": list(version.feature_cols), "schema_hash": version.schema_hash}
    _write_json(directory / files["feature_columns"], columns)
    golden = {
        "model_id": version.model_id,
        "rows": version.golden_rows.tolist(),
        "probabilities": version.golden_probabilities.tolist(),
    }
    _write_json(directory / files["golden"], golden)
    return buffer.getbuffer().nbytes


def seal(directory: Path, version: Version, meta: Mapping[str, Any], report: str) -> dict[str, Any]:
    """Write certificate, report and manifest beside a saved model; return the manifest."""
    files = version.files
    _write_json(directory / files["training_meta"], dict(meta))
    _write(directory / files["report"], report.encode())
    at = datetime.fromtimestamp(version.at_ms / 1000, tz=UTC)
    manifest: dict[str, Any] = {
        **files,
        "calibrator": None,  # calibration is inside; older loaders look for the key
        "model_id": version.model_id,
        "schema_hash": version.schema_hash,
        "feature_dim": len(version.feature_cols),
        "computer": version.computer,
        "slot": version.slot,
        "interval": version.interval,
        "trained_at_utc": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "timestamp": stamp(version.at_ms),
        "trained_to_ms": version.trained_to_ms,
        "class_order": list(CLASS_ORDER),
        "horizon_bars": version.horizon_bars,
        "threshold": version.threshold,
        "signal_threshold": {"up": version.up, "down": version.down},
        "promoted_by": None,
        "git_commit": version.git_commit,
        "python": platform.python_version(),
        "sklearn": sklearn.__version__,
        "sha256": {name: _digest((directory / name).read_bytes()) for name in files.values()},
    }
    _write_json(directory / manifest_name(version.model_id), manifest)
    _fsync_directory(directory)
    return manifest


def read_champion(manifest_path: Path) -> ChampionModel:
    """Read what a retrain must know of the live model; its files lie beside the manifest.

    The daemon verified the version before it went live. Here only the digests of its files are
    compared, before the model is unpickled.

    Args:
        manifest_path: LATEST.json, or a version's own manifest.

    Raises:
        ArtifactError: If a file is missing, altered, or cannot be read.
    """
    manifest = _json_of(_read(manifest_path), manifest_path)
    try:
        model, meta = (_checked(manifest, name, manifest_path.parent) for name in _OF_CHAMPION)
        signal = manifest["signal_threshold"]
        return ChampionModel(
            model_id=str(manifest["model_id"]),
            schema_hash=str(manifest["schema_hash"]),
            horizon_bars=int(manifest["horizon_bars"]),
            threshold=manifest["threshold"],
            trained_to_ms=int(manifest["trained_to_ms"]),
            up=float(signal["up"]),
            down=float(signal["down"]),
            model=joblib.load(io.BytesIO(model)),
            anchors=tuple((int(t), float(c)) for t, c in json.loads(meta).get("anchors", ())),
        )
    except ArtifactError:
        raise
    # A pickle of another scikit-learn may fail in any way at all.
    except Exception as e:
        reason = f"the live model cannot be loaded ({type(e).__name__}: {e}); it was written by "
        raise ArtifactError(f"{reason}scikit-learn {manifest.get('sklearn')}") from e


def self_test(python: str, model_path: Path, golden_path: Path) -> SelfTest:
    """Load a saved model in a fresh interpreter without our packages.

    Args:
        python: The interpreter, best the bot's own.
        model_path: The joblib file.
        golden_path: The golden rows that it must reproduce.
    """
    command = [python, "-I", str(_SELF_TEST), str(model_path), str(golden_path)]
    try:
        # The interpreter comes from the operator's configuration.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_SELF_TEST_TIMEOUT_S, check=False
        )
        if done.returncode == 0:
            return SelfTest(**json.loads(done.stdout))
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return SelfTest(error=lines[-1])
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as e:
        return SelfTest(error=f"{type(e).__name__}: {e}")


def _checked(manifest: Mapping[str, Any], field: str, directory: Path) -> bytes:
    """Return a file of a version, after comparing its digest."""
    name = Path(manifest[field]).name
    content = _read(directory / name)
    if _digest(content) != manifest["sha256"].get(name):
        raise ArtifactError(f"{directory / name}: its SHA-256 is not the manifest's; restore it")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ArtifactError(f"{path}: cannot be read ({e.strerror}); restore it") from e


def _json_of(content: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as e:
        raise ArtifactError(f"{path}: is not JSON ({e}); restore it from backup/") from e
    if not isinstance(document, dict):
        raise ArtifactError(f"{path}: is not a JSON object; restore it from backup/")
    return document


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    _write(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    """Write and sync, so that the files survive a power cut."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
