"""Write a model version: the one module of this package that touches files.

A version is a handful of immutable files and a manifest that names them with their digests.
A reader compares every digest before it unpickles anything; the readers of
daemon and bots are in `hyperdrift.version_files`, a retrain reads only the live model here.
"""

import hashlib
import io
import json
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn

from retrain.champion import ChampionModel, Predict
from retrain.errors import ArtifactError
from retrain.forms import parts
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
    "Version",
    "manifest_name",
    "model_id",
    "read_champion",
    "save_model",
    "seal",
    "stamp",
    "write",
]

Folder = Path
"""Where a version lies: what other modules of this package hand on without looking inside."""


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
    """Write model, parts, feature columns and golden rows; return the model's size in bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    files = version.files
    buffer = io.BytesIO()
    joblib.dump(version.model, buffer, compress=3)
    _write(directory / files["meta_classifier"], buffer.getvalue())
    if version.parts is not None:
        _write(directory / files["parts"], version.parts.dumped())
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
    """Write certificate, report and manifest beside a saved model; return the manifest.

    The portable form is in the manifest if it lies there.
    """
    files, forms = version.files, {"joblib": version.files["meta_classifier"]}
    if (directory / version.portable).is_file():
        forms["onnx"] = version.portable
    _write_json(directory / files["training_meta"], dict(meta))
    _write(directory / files["report"], report.encode())
    at = datetime.fromtimestamp(version.at_ms / 1000, tz=timezone.utc)
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
        "decision_rule": dict(version.decision_rule),
        "promoted_by": None,
        "git_commit": version.git_commit,
        "python": platform.python_version(),
        "sklearn": sklearn.__version__,
        "numpy": np.__version__,
        "forms": forms,
        "sha256": {
            name: _digest((directory / name).read_bytes())
            for name in dict.fromkeys([*files.values(), *forms.values()])
        },
    }
    _write_json(directory / manifest_name(version.model_id), manifest)
    _fsync_directory(directory)
    return manifest


def read_champion(manifest_path: Path) -> ChampionModel:
    """Read what a retrain must know of the live model; its files lie beside the manifest.

    The daemon verified the version before it went live. Here only the digests of its files are
    compared. Its probabilities come from its parts, so that its scikit-learn need not be ours;
    only a version without them is unpickled.

    Args:
        manifest_path: LATEST.json, or a version's own manifest.

    Raises:
        ArtifactError: If a file is missing, altered, or cannot be read.
    """
    manifest = _json_of(_read(manifest_path), manifest_path)
    try:
        model = "parts" if "parts" in manifest else "meta_classifier"
        content, meta = (
            _checked(manifest, name, manifest_path.parent) for name in (model, "training_meta")
        )
        signal = manifest["signal_threshold"]
        return ChampionModel(
            model_id=str(manifest["model_id"]),
            schema_hash=str(manifest["schema_hash"]),
            horizon_bars=int(manifest["horizon_bars"]),
            threshold=manifest["threshold"],
            trained_to_ms=int(manifest["trained_to_ms"]),
            up=float(signal["up"]),
            down=float(signal["down"]),
            predict=_predictor(model, content),
            anchors=tuple((int(t), float(c)) for t, c in json.loads(meta).get("anchors", ())),
        )
    except ArtifactError:
        raise
    # A pickle of another scikit-learn may fail in any way at all.
    except Exception as e:
        reason = f"the live model cannot be loaded ({type(e).__name__}: {e}); it was written by "
        raise ArtifactError(f"{reason}scikit-learn {manifest.get('sklearn')}") from e


def _predictor(model: str, content: bytes) -> Predict:
    """Return the function from raw rows (n, 17) to probabilities (n, 3)."""
    if model == "parts":
        return parts.loaded(content).predict
    fitted = joblib.load(io.BytesIO(content))
    # Named columns, because the model was fitted with names and warns without them.
    names = list(fitted.feature_names_in_) if hasattr(fitted, "feature_names_in_") else None
    return lambda rows: np.asarray(fitted.predict_proba(pd.DataFrame(rows, columns=names)))


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
    except (ValueError, RecursionError) as e:
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
