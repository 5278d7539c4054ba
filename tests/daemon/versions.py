"""Small real model versions for tests, written by the code that writes the large ones."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hyperdrift.verification import GATES
from retrain import artifact, features

SLOT = "BTC-5m"
START_MS = 1_750_000_000_000
MINUTE_MS = 60_000


@cache
def rows() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(400, len(features.NAMES)))


@cache
def fitted(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    labels = np.clip(np.round(rows()[:, 0] + rng.normal(size=400)) + 1, 0, 2).astype(int)
    frame = pd.DataFrame(rows(), columns=list(features.NAMES))
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, labels)


def certificate(*, refused: tuple[str, ...] = ()) -> dict[str, Any]:
    gates = [{"name": name, "passed": name not in refused} for name in sorted(GATES)]
    scores = {"test": {"skill": 0.03, "decisions": {"accuracy": 0.71}}}
    return {"passed": not refused, "promoted_by": None, "gates": gates, "scores": scores}


def write_version(
    folder: Path,
    number: int = 0,
    *,
    slot: str = SLOT,
    model: Any = None,
    meta: dict[str, Any] | None = None,
    threshold: float | str = 0.005,
) -> Path:
    """Write version `number` (one a minute); return the path of its manifest."""
    model = model or fitted(number)
    golden = pd.DataFrame(rows()[:32], columns=list(features.NAMES))
    version = artifact.Version(
        at_ms=START_MS + number * MINUTE_MS,
        slot=slot,
        interval=slot.rpartition("-")[2],
        model=model,
        feature_cols=features.NAMES,
        schema_hash=features.schema_hash(),
        up=0.4,
        down=0.4,
        horizon_bars=12,
        threshold=threshold,
        trained_to_ms=START_MS,
        golden_rows=golden.to_numpy(),
        golden_probabilities=model.predict_proba(golden),
    )
    artifact.write(folder, version, meta or certificate(), "<p>a report</p>")
    return folder / artifact.manifest_name(version.model_id)


def rewrite(manifest_path: Path, **changes: Any) -> None:
    """Change fields of a manifest, as a careless or hostile hand would."""
    document = json.loads(manifest_path.read_text())
    manifest_path.write_text(json.dumps(document | changes))


def replace_file(manifest_path: Path, field: str, content: bytes) -> None:
    """Put other bytes behind a manifest's field and adjust its digest, as a forger would."""
    document = json.loads(manifest_path.read_text())
    name = document[field]
    path = manifest_path.parent / name
    path.unlink()  # names may be hard links
    path.write_bytes(content)
    document["sha256"][name] = hashlib.sha256(content).hexdigest()
    manifest_path.write_text(json.dumps(document))
