"""A small signed version for bots in other languages.

The model is a regression with weights that this module makes up. The joblib file holds a
sentence instead of a pickle: the version is for readers of the portable form.
"""

import hashlib
import json
import math
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from daemon.registry.signing import Signer
from docs.generate.vectors import key
from hyperdrift.features import FEATURE_NAMES, schema_hash
from hyperdrift.verification import GATES
from hyperdrift.version_files import LATEST

Files = dict[str, bytes]

MODEL_ID: Final = f"20250615_150640_{schema_hash()}"
DEPLOYED_MS: Final = 1_760_000_000_000
SLOT: Final = "BTC-5m"
_ROWS, _WIDTH, _CLASSES = 8, len(FEATURE_NAMES), 3
_KINDS: Final = {
    "meta_classifier": "joblib",
    "feature_columns": "json",
    "training_meta": "json",
    "golden": "json",
    "report": "html",
    "model": "onnx",
}
NAMES: Final = {kind: f"{kind}_{MODEL_ID}.{suffix}" for kind, suffix in _KINDS.items()}


def files() -> Files:
    """Return name -> content of the version's files and its LATEST.json."""
    return deployed(version())


def version() -> Files:
    """Return the files of the version, without a manifest."""
    columns = {"feature_cols": list(FEATURE_NAMES), "schema_hash": schema_hash()}
    return {
        NAMES["meta_classifier"]: b"This version is for tests: it has the portable form only.\n",
        NAMES["feature_columns"]: as_json(columns),
        NAMES["training_meta"]: as_json(certificate()),
        NAMES["golden"]: as_json({"rows": _rows(), "probabilities": _probabilities()}),
        NAMES["report"]: b"<!doctype html><title>A version for tests</title>\n",
        NAMES["model"]: as_onnx(),
    }


def deployed(
    version: Files, signer: Signer | None = None, *, unsigned: bool = False, **changes: Any
) -> Files:
    """Return a version with a LATEST.json, signed after `changes` to its fields.

    Args:
        version: Its files; their digests are computed anew.
        signer: Signs it; None for the key of the vectors.
        unsigned: Leave the signature out.
        changes: Fields of LATEST.json.
    """
    document: dict[str, Any] = {
        **{kind: name for kind, name in NAMES.items() if kind != "model"},
        "calibrator": None,
        "model_id": MODEL_ID,
        "schema_hash": schema_hash(),
        "feature_dim": _WIDTH,
        "computer": "builtin",
        "slot": SLOT,
        "interval": "5m",
        "trained_at_utc": "2025-06-15T15:06:40Z",
        "timestamp": "20250615_150640",
        "trained_to_ms": 1_750_000_000_000,
        "class_order": [0, 1, 2],
        "horizon_bars": 12,
        "threshold": 0.005,
        "signal_threshold": {"up": 0.35, "down": 0.4000000003},
        "promoted_by": None,
        "git_commit": "",
        "python": "3.11.2",
        "sklearn": "1.9.0",
        "numpy": "2.4.1",
        "forms": {"joblib": NAMES["meta_classifier"], "onnx": NAMES["model"]},
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in version.items()},
        "lineage": [],
        "deployed": {"at_ms": DEPLOYED_MS, "action": "deploy", "reason": "dérive", "by": "test"},
        **changes,
    }
    if not unsigned:
        document["signature"] = (signer or Signer(key())).sign(document)
    return {**version, LATEST: as_json(document)}


def certificate(refused: str = "") -> dict[str, Any]:
    """Return a training_meta whose gates all passed, but one if it is named."""
    gates = [{"name": name, "passed": name != refused} for name in sorted(GATES)]
    return {"passed": not refused, "gates": gates}


def _rows() -> list[list[float]]:
    return [[((7 * i + 3 * j) % 11 - 5) / 4 for j in range(_WIDTH)] for i in range(_ROWS)]


def _weights() -> list[list[float]]:
    return [[((5 * j + 4 * k) % 7 - 3) / 8 for k in range(_CLASSES)] for j in range(_WIDTH)]


_BIAS: Final = (0.25, 0.5, -0.25)


def _probabilities() -> list[list[float]]:
    """Return the softmax of each golden row, to 12 digits, which every machine agrees on."""
    found = []
    for row in _rows():
        odds = [
            math.fsum(x * w[k] for x, w in zip(row, _weights(), strict=True)) + _BIAS[k]
            for k in range(_CLASSES)
        ]
        total = math.fsum(map(math.exp, odds))
        found.append([round(math.exp(each) / total, 12) for each in odds])
    return found


def as_onnx(
    *,
    model_id: str = MODEL_ID,
    flipped: bool = False,
    given: str = "features",
    output: str = "probabilities",
) -> bytes:
    """Return the portable form of the made-up regression.

    Args:
        model_id: What the file says of itself.
        flipped: Swap DOWN and UP.
        given: Name of its input.
        output: Name of its output.
    """
    weights, bias = np.array(_weights()), np.array(_BIAS)
    if flipped:
        weights, bias = weights[:, ::-1].copy(), bias[::-1].copy()
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [given, "weights"], ["weighted"]),
            helper.make_node("Add", ["weighted", "bias"], ["odds"]),
            helper.make_node("Softmax", ["odds"], [output]),
        ],
        "vectors",
        [helper.make_tensor_value_info(given, double, ["N", _WIDTH])],
        [helper.make_tensor_value_info(output, double, ["N", _CLASSES])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    facts = {"model_id": model_id, "schema_hash": schema_hash(), "class_order": "0,1,2"}
    helper.set_model_props(made, facts)
    return bytes(made.SerializeToString(deterministic=True))


def as_json(document: Any) -> bytes:
    """Return a document as the daemon writes its files."""
    return json.dumps(document, indent=1).encode() + b"\n"
