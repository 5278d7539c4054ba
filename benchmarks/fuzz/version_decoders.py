"""The readers of a version's files: pointer, certificate, columns, golden rows, calibration."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
from sklearn.dummy import DummyClassifier

from benchmarks.fuzz.campaign import FuzzedDecoder
from daemon.mqtt.messages import encode
from daemon.registry.signing import Signer, generate
from daemon.registry.version_info import describe
from hyperdrift.loaded_model import load
from hyperdrift.signatures import Verifier
from hyperdrift.verification import GATES, certificate_fault
from hyperdrift.version_files import check_files, check_slot, json_of, read_manifest
from monitor.drift.calibration import Calibration, calibrate
from retrain import features
from retrain.artifact import read_champion

_ID: Final = f"20260101_000000_{features.schema_hash()}"
_FILES: Final = {
    "meta_classifier": f"meta_classifier_{_ID}.joblib",
    "feature_columns": f"feature_columns_{_ID}.json",
    "training_meta": f"training_meta_{_ID}.json",
    "golden": f"golden_{_ID}.json",
    "report": f"report_{_ID}.html",
}
_META: Final = {
    "passed": True,
    "promoted_by": None,
    "gates": [{"name": name, "passed": True} for name in sorted(GATES)],
    "scores": {"test": {"skill": 0.03, "decisions": {"accuracy": 0.71}}},
    "anchors": [[1_760_000_000_000, 61000.0]],
}
_SLOT: Final = "BTC-5m"


class _Version:
    """A small version in a folder, signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        generate(folder / "key", folder / "key.pub")
        self.signer, self.verifier = Signer.load(folder / "key"), Verifier.load(folder / "key.pub")
        self.pointer = folder / "LATEST.json"
        rows = np.random.default_rng(7).normal(size=(60, len(features.NAMES)))
        model = DummyClassifier(strategy="prior").fit(rows, np.arange(60) % 3)
        joblib.dump(model, folder / _FILES["meta_classifier"])
        golden = {
            "rows": rows[:4].tolist(),
            "probabilities": model.predict_proba(rows[:4]).tolist(),
        }
        columns = {"feature_cols": list(features.NAMES), "schema_hash": features.schema_hash()}
        self.texts = {
            "feature_columns": _text(columns), "training_meta": _text(_META),
            "golden": _text(golden), "report": b"<p>a report</p>",
        }  # fmt: skip
        for name, text in self.texts.items():
            (folder / _FILES[name]).write_bytes(text)
        self.manifest = self.point({})

    def point(self, changed: dict[str, str]) -> bytes:
        """Write LATEST.json for the files as they are; return its content."""
        digests = {
            name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
            for name in _FILES.values()
        }
        document: dict[str, Any] = {
            **_FILES, "model_id": _ID, "slot": _SLOT, "interval": "5m", "computer": "builtin",
            "schema_hash": features.schema_hash(), "feature_dim": 17, "horizon_bars": 12,
            "class_order": [0, 1, 2], "threshold": 0.005, "trained_to_ms": 1_760_000_000_000,
            "signal_threshold": {"up": 0.4, "down": 0.4}, "sklearn": "1.7.2", "python": "3.11.7",
            "promoted_by": None, "deployed": {"at_ms": 1_760_000_000_000, "by": "daemon"},
            "calibrator": None, "trained_at_utc": "2026-01-01T00:00:00Z", "numpy": "2.3.5",
            "forms": ["joblib"], "sha256": digests | changed,
        }  # fmt: skip
        document["signature"] = self.signer.sign(document)
        text = _text(document)
        self.pointer.write_bytes(text)
        return text

    def read_pointer(self, text: bytes) -> bool:
        """Read a mutated LATEST.json as daemon and bot do, signature included."""
        self.pointer.write_bytes(text)
        encode(describe(self.pointer, _ID))
        manifest = read_manifest(self.pointer)
        encode({"model_id": manifest.model_id, "at_ms": manifest.deployed_ms, "up": manifest.up})
        check_slot(manifest, _SLOT)
        check_files(manifest, self.folder)
        self.verifier.verify(manifest.document)
        return True

    def read_as_child(self, text: bytes) -> bool:
        """Read a mutated LATEST.json as the child process does."""
        self.pointer.write_bytes(text)
        return bool(read_champion(self.pointer).model_id)

    def read_file(self, field: str, text: bytes) -> bool:
        """Read a mutated file of the version, with its right digest, as a bot does."""
        path = self.folder / _FILES[field]
        path.write_bytes(text)
        try:
            self.point({path.name: hashlib.sha256(text).hexdigest()})
            encode(describe(self.pointer, _ID))
            manifest = read_manifest(self.pointer)
            contents = check_files(manifest, self.folder)
            meta = json_of(contents[manifest.training_meta], manifest.training_meta, _ID)
            if certificate_fault(meta) is not None:
                return False
            return load(manifest, contents).model_id == _ID
        finally:
            path.write_bytes(self.texts[field])


def version_decoders(folder: Path) -> list[FuzzedDecoder]:
    """Return the decoders; the version is written below `folder`."""
    version = _Version(folder / "models" / _SLOT)
    pointers, learnt = (version.manifest,), (_calibration(),)
    return [
        FuzzedDecoder("LATEST.json", pointers, version.read_pointer, 0.5),
        FuzzedDecoder("LATEST.json in a child", pointers, version.read_as_child, 0.1),
        *(_file_of(version, field) for field in ("feature_columns", "training_meta", "golden")),
        FuzzedDecoder("calibration", learnt, _calibrated, 0.1),
    ]


def _file_of(version: _Version, field: str) -> FuzzedDecoder:
    inputs = (version.texts[field],)
    return FuzzedDecoder(field, inputs, lambda text: version.read_file(field, text), 0.1)


def _calibration() -> bytes:
    rows = np.random.default_rng(3).normal(size=(9000, 2))
    return calibrate(rows, ("a", "b"), 288).to_json().encode()


def _calibrated(text: bytes) -> bool:
    return Calibration.from_json(text.decode("utf-8", errors="replace")) is not None


def _text(value: object) -> bytes:
    return json.dumps(value).encode()
