"""Write and read a model version: the one module of this package that touches files.

A version is a handful of immutable files and a manifest that names them with their
digests. A reader checks every digest before anything is unpickled, so a damaged or
tampered file is refused with a sentence and never runs.
"""

import hashlib
import io
import json
import math
import os
import platform
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it ships none

from retrain.errors import ArtifactError
from retrain.manifest import (
    CLASS_ORDER,
    Manifest,
    Version,
    canonical,
    manifest_name,
    model_id,
    parse,
    stamp,
)
from retrain.provenance import Anchors

__all__ = [
    "ArtifactError",
    "Folder",
    "LoadedModel",
    "Manifest",
    "SelfTest",
    "Version",
    "canonical",
    "check_files",
    "load",
    "manifest_name",
    "model_id",
    "read_manifest",
    "save_model",
    "seal",
    "self_test",
    "stamp",
    "training_meta",
    "write",
]

GOLDEN_TOLERANCE: Final = 1e-9
Folder = Path
"""Where a version lies: what other modules of this package hand on without looking inside."""
# scikit-learn's forests set the process's warning filters while they predict, and put back
# what they found: two threads at once leave them empty for good, and every tree warns then.
_ALONE: Final = threading.Lock()
_SELF_TEST_TIMEOUT_S: Final = 120.0
_SELF_TEST: Final = Path(__file__).with_name("selftest.py")


@dataclass(frozen=True)
class LoadedModel:
    """A model version in memory, checked, ready to answer."""

    manifest: Manifest
    model: Any
    feature_cols: tuple[str, ...]
    golden: tuple[NDArray[np.float64], NDArray[np.float64]] = field(repr=False)
    anchors: Anchors = field(default=(), repr=False)
    threads: ThreadpoolController = field(default_factory=ThreadpoolController, repr=False)

    @property
    def model_id(self) -> str:
        """`<YYYYmmdd_HHMMSS>_<schema_hash>`."""
        return self.manifest.model_id

    @property
    def up(self) -> float:
        """Probability of UP from which the model signals UP."""
        return self.manifest.up

    @property
    def down(self) -> float:
        """Probability of DOWN from which the model signals DOWN."""
        return self.manifest.down

    def predict(self, rows: NDArray[np.float64] | Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Return the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for raw rows (n, 17)."""
        # Named columns, because the model was fitted with names and warns without them.
        frame = pd.DataFrame(np.asarray(rows, dtype=np.float64), columns=list(self.feature_cols))
        # A second OpenMP thread gains nothing on one row, and waiting for it while another
        # process has the core takes a hundred times as long as the prediction.
        with _ALONE, self.threads.limit(limits=1, user_api="openmp"):
            return np.asarray(self.model.predict_proba(frame), dtype=np.float64)

    def check_golden(self) -> float:
        """Return the largest difference from the golden probabilities.

        Raises:
            ArtifactError: If it exceeds 1e-9: this model does not compute what was judged.
        """
        rows, expected = self.golden
        difference = float(np.abs(self.predict(rows) - expected).max())
        if not difference <= GOLDEN_TOLERANCE:  # also when it is NaN
            reason = (
                f"the golden rows come out {difference:.3g} off; load it with the scikit-learn "
                f"that wrote it ({self.manifest.sklearn}) or retrain"
            )
            raise ArtifactError(f"{self.manifest.golden}: {reason}")
        return difference


@dataclass(frozen=True)
class SelfTest:
    """What a fresh interpreter made of a saved model; `error` is empty if all was well."""

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


def read_manifest(path: Path) -> Manifest:
    """Read LATEST.json or a version's own manifest, and check its form.

    Raises:
        ArtifactError: If it is missing, not JSON, or a field is missing or of the wrong kind.
    """
    document = _read_json(path)
    try:
        return parse(document)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as e:
        reason = f"not a usable manifest ({type(e).__name__}: {e}); restore it from backup/"
        raise ArtifactError(f"{path}: {reason}") from e


def check_files(manifest: Manifest, directory: Path) -> dict[str, bytes]:
    """Compare every file with its digest and return the contents that were checked.

    What is returned is what should be used: a file replaced after the check has no say.

    Raises:
        ArtifactError: If a file is missing or its digest differs.
    """
    contents = {}
    for name, expected in manifest.sha256.items():
        contents[name] = _read(directory / name)
        if (actual := _digest(contents[name])) != expected:
            reason = f"its SHA-256 is {actual[:12]}, the manifest says {expected[:12]}; restore it"
            raise ArtifactError(f"{directory / name}: {reason}")
    return contents


def load(manifest_path: Path, *, check: bool = True) -> LoadedModel:
    """Load the version that a manifest names; its files lie beside it.

    Args:
        manifest_path: LATEST.json, or a version's own manifest.
        check: Also reproduce the golden rows. Digests are checked always.

    Raises:
        ArtifactError: If anything about the version is not as the manifest says.
    """
    manifest = read_manifest(manifest_path)
    contents = check_files(manifest, manifest_path.parent)
    try:
        columns = json.loads(contents[manifest.feature_columns])
        golden = json.loads(contents[manifest.golden])
        model = joblib.load(io.BytesIO(contents[manifest.meta_classifier]))
        loaded = LoadedModel(
            manifest=manifest,
            model=model,
            feature_cols=tuple(columns["feature_cols"]),
            golden=(np.asarray(golden["rows"], float), np.asarray(golden["probabilities"], float)),
            anchors=_anchors(json.loads(contents[manifest.training_meta])),
        )
    # A pickle of another scikit-learn may fail in any way at all.
    except Exception as e:
        reason = f"cannot be loaded ({type(e).__name__}: {e}); written by scikit-learn "
        raise ArtifactError(f"{manifest_path}: {reason + manifest.sklearn}") from e
    _check_shape(loaded)
    if check:
        loaded.check_golden()
    return loaded


def training_meta(manifest: Manifest, directory: Path) -> dict[str, Any]:
    """Read a version's certificate, after comparing its digest.

    Raises:
        ArtifactError: If it is missing or its digest differs.
    """
    content = _read(directory / manifest.training_meta)
    if _digest(content) != manifest.sha256.get(manifest.training_meta):
        raise ArtifactError(f"{manifest.training_meta}: its SHA-256 is not the manifest's")
    meta: dict[str, Any] = json.loads(content)
    return meta


def self_test(python: str, model_path: Path, golden_path: Path) -> SelfTest:
    """Load a saved model in a fresh interpreter that knows nothing of ours.

    Args:
        python: The interpreter, best the bot's own.
        model_path: The joblib file.
        golden_path: The golden rows that it must reproduce.
    """
    command = [python, "-I", str(_SELF_TEST), str(model_path), str(golden_path)]
    try:
        # The interpreter is named in the operator's own configuration.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_SELF_TEST_TIMEOUT_S, check=False
        )
        if done.returncode == 0:
            return SelfTest(**json.loads(done.stdout))
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        return SelfTest(error=lines[-1])
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as e:
        return SelfTest(error=f"{type(e).__name__}: {e}")


def _check_shape(loaded: LoadedModel) -> None:
    """Refuse a model that is not 17 raw features in, DOWN, NEUTRAL, UP out."""
    dim = loaded.manifest.feature_dim
    inputs = getattr(loaded.model, "n_features_in_", None)
    classes = [int(c) for c in getattr(loaded.model, "classes_", ())]
    if inputs != dim or len(loaded.feature_cols) != dim:
        reason = f"the model takes {inputs} inputs, the manifest says {dim}: save the whole stack"
    elif classes != list(CLASS_ORDER):
        reason = f"the model's classes are {classes}, must be [0, 1, 2]"
    elif loaded.golden[0].shape[1:] != (dim,):
        reason = f"the golden rows have shape {loaded.golden[0].shape}"
    else:
        return
    raise ArtifactError(f"{loaded.manifest.meta_classifier}: {reason}")


def _anchors(meta: Mapping[str, Any]) -> Anchors:
    """Return the bars that a certificate kept; older versions kept none."""
    return tuple((int(t), float(close)) for t, close in meta.get("anchors", ()))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ArtifactError(f"{path}: cannot be read ({e.strerror}); restore it") from e


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_read(path))
    except ValueError as e:
        raise ArtifactError(f"{path}: is not JSON ({e}); restore it from backup/") from e
    if not isinstance(document, dict):
        raise ArtifactError(f"{path}: is not a JSON object; restore it from backup/")
    return document


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    _write(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    """Write and sync, so that what the manifest promises survives a power cut."""
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
