"""The readers of a version's files: pointer, certificate, columns, golden rows, calibration."""

import hashlib
import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.fuzz.campaign import FuzzedDecoder
from daemon.mqtt.messages import encode
from daemon.registry.signing import Signer, generate
from daemon.registry.version_info import describe
from hyperdrift.loaded_model import load
from hyperdrift.signatures import Verifier
from hyperdrift.verification import GATES, certificate_fault
from hyperdrift.version_files import check_files, check_slot, json_of, read_manifest
from monitor.drift.calibration import Calibration, calibrate
from retrain import artifact, features
from retrain.artifact import read_champion

_META: Final = {
    "passed": True,
    "promoted_by": None,
    "gates": [{"name": name, "passed": True} for name in sorted(GATES)],
    "scores": {"test": {"skill": 0.03, "argmax": {"accuracy": 0.71}}},
    "anchors": [[1_760_000_000_000, 61000.0]],
}
_FIELDS: Final = ("feature_columns", "training_meta", "golden")
_SLOT: Final = "BTC-5m"
_AT_MS: Final = 1_760_000_000_000


class _Version:
    """A small version in a folder, signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        generate(folder / "key", folder / "key.pub")
        self.signer, self.verifier = Signer.load(folder / "key"), Verifier.load(folder / "key.pub")
        self.pointer = folder / "LATEST.json"
        self.document = artifact.write(folder, _small_version(), _META, "<p>a report</p>")
        self.id = str(self.document["model_id"])
        self.manifest = self.point({})

    def path(self, field: str) -> Path:
        """Return the file behind a field of the manifest."""
        return self.folder / str(self.document[field])

    def point(self, digests: dict[str, str]) -> bytes:
        """Write LATEST.json with some other digests; return its content."""
        document = {**self.document, "deployed": {"at_ms": _AT_MS, "by": "daemon"}}
        document["sha256"] = document["sha256"] | digests
        document["signature"] = self.signer.sign(document)
        text = json.dumps(document).encode()
        self.pointer.write_bytes(text)
        return text

    def read_pointer(self, text: bytes) -> bool:
        """Read a mutated LATEST.json as daemon and bot do, signature included."""
        self.pointer.write_bytes(text)
        encode(describe(self.pointer, self.id))
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
        path = self.path(field)
        real = path.read_bytes()
        path.unlink()  # names may be hard links
        path.write_bytes(text)
        try:
            self.point({path.name: hashlib.sha256(text).hexdigest()})
            encode(describe(self.pointer, self.id))
            manifest = read_manifest(self.pointer)
            contents = check_files(manifest, self.folder)
            meta = json_of(contents[manifest.training_meta], manifest.training_meta, self.id)
            if certificate_fault(meta) is not None:
                return False
            return load(manifest, contents).model_id == self.id
        finally:
            path.write_bytes(real)


def _small_version() -> artifact.Version:
    rows = np.random.default_rng(7).normal(size=(60, len(features.NAMES)))
    frame = pd.DataFrame(rows, columns=list(features.NAMES))
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, np.arange(60) % 3)
    golden = frame[:4]
    return artifact.Version(
        at_ms=_AT_MS, slot=_SLOT, interval="5m", model=model, feature_cols=features.NAMES,
        schema_hash=features.schema_hash(), up=0.4, down=0.4, horizon_bars=12, threshold=0.005,
        trained_to_ms=_AT_MS, golden_rows=golden.to_numpy(),
        golden_probabilities=model.predict_proba(golden),
    )  # fmt: skip


def version_decoders(folder: Path) -> list[FuzzedDecoder]:
    """Return the decoders; the version is written below `folder`."""
    version = _Version(folder / "models" / _SLOT)
    pointers, learnt = (version.manifest,), (_calibration(),)
    return [
        FuzzedDecoder("LATEST.json", pointers, version.read_pointer, 0.5),
        FuzzedDecoder("LATEST.json in a child", pointers, version.read_as_child, 0.1),
        *(_file_of(version, field) for field in _FIELDS),
        FuzzedDecoder("calibration", learnt, _calibrated, 0.1),
    ]


def _file_of(version: _Version, field: str) -> FuzzedDecoder:
    inputs = (version.path(field).read_bytes(),)
    return FuzzedDecoder(field, inputs, lambda text: version.read_file(field, text), 0.1)


def _calibration() -> bytes:
    rows = np.random.default_rng(3).normal(size=(9000, 2))
    return calibrate(rows, ("a", "b"), 288).to_json().encode()


def _calibrated(text: bytes) -> bool:
    return Calibration.from_json(text.decode("utf-8", errors="replace")) is not None
