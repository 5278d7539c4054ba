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


def as_onnx(model: Any, model_id: str) -> bytes:
    """Return the portable form of what `fitted` returns."""
    import onnx  # takes 0.3 s, and few tests need it
    from onnx import TensorProto, helper, numpy_helper

    scaler, regression = model.named_steps.values()
    weights = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "coef": regression.coef_.T,
        "bias": regression.intercept_,
    }
    width = len(features.NAMES)
    graph = helper.make_graph(
        [
            helper.make_node("Sub", ["features", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "scale"], ["scaled"]),
            helper.make_node("MatMul", ["scaled", "coef"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["odds"]),
            helper.make_node("Softmax", ["odds"], ["probabilities"]),
        ],
        "small",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["N", width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    facts = {"model_id": model_id, "schema_hash": features.schema_hash(), "class_order": "0,1,2"}
    helper.set_model_props(made, facts)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def certificate(*, refused: tuple[str, ...] = ()) -> dict[str, Any]:
    gates = [{"name": name, "passed": name not in refused} for name in sorted(GATES)]
    decided = {"shares": [0.04, 0.9, 0.06], "win_rate": 0.55, "expectancy": 0.0012}
    test = {"skill": 0.03, "argmax": {"accuracy": 0.71}, "decisions": decided}
    scores = {"test": test}
    return {"passed": not refused, "promoted_by": None, "gates": gates, "scores": scores}


def write_version(
    folder: Path,
    number: int = 0,
    *,
    slot: str = SLOT,
    model: Any = None,
    meta: dict[str, Any] | None = None,
    threshold: float | str = 0.005,
    portable: bool = False,
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
    if portable:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / version.portable).write_bytes(as_onnx(model, version.model_id))
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
