"""A small signed version for bots in other languages, and the ways in which it is refused.

The model is a regression with weights that this module makes up. The joblib file holds a
sentence instead of a pickle: the version is for readers of the portable form.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from daemon.registry.signing import Signer
from docs.generate.vectors import key, other_key, public_pem
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
    return _deployed(_version())


def cases_json() -> str:
    """Return `cases.json`: what is changed in the version, and whether a bot may take it."""
    whole = files()
    cases = []
    for name, changed, options in _cases():
        overlay = {
            file: _text_or_base64(changed.get(file))
            for file in sorted({*whole, *changed})
            if whole.get(file) != changed.get(file)
        }
        cases.append({"name": name, "files": overlay, **options})
    given = {"slot": SLOT, "public_pem": public_pem(), "cases": cases}
    return json.dumps(given, indent=1) + "\n"


def _version() -> Files:
    """Return the files of the version, without a manifest."""
    columns = {"feature_cols": list(FEATURE_NAMES), "schema_hash": schema_hash()}
    return {
        NAMES["meta_classifier"]: b"This version is for tests: it has the portable form only.\n",
        NAMES["feature_columns"]: _json(columns),
        NAMES["training_meta"]: _json(_certificate()),
        NAMES["golden"]: _json({"rows": _rows(), "probabilities": _probabilities()}),
        NAMES["report"]: b"<!doctype html><title>A version for tests</title>\n",
        NAMES["model"]: _onnx(),
    }


def _deployed(
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
    return {**version, LATEST: _json(document)}


def _cases() -> Iterator[tuple[str, Files, dict[str, Any]]]:
    """Yield a name, the files, and how they are asked for and answered.

    `order` is the swap order if there is one, `after_ms` when the live version was deployed.
    `needs_model` is true where only loading the model shows the fault.
    """
    whole, version = files(), _version()
    yield "as it is", whole, _accepted(needs_model=True)
    yield "as it is, with its order", whole, _accepted(order=_order(whole))
    yield "deployed when the live one was", whole, _accepted(after_ms=DEPLOYED_MS)
    yield from _of_the_pointer(whole, version)
    yield from _of_the_files(whole, version)
    yield from _of_the_certificate(version)
    yield from _of_the_model(version)


def _of_the_pointer(whole: Files, version: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    theirs = Signer(other_key())
    half = whole[LATEST][:300]
    forged = whole[LATEST].replace(b'"up": 0.35', b'"up": 0.01')
    order = _order(whole)
    other = {**order, "model_id": f"20250615_150740_{schema_hash()}"}
    digests = {**order, "sha256": {**order["sha256"], NAMES["model"]: "0" * 64}}
    nothing = {name: data for name, data in whole.items() if name != LATEST}
    yield "no LATEST.json", nothing, _refused("cannot be read")
    yield "LATEST.json cut short", {**whole, LATEST: half}, _refused("is not JSON")
    yield "a list for LATEST.json", {**whole, LATEST: b"[1]"}, _refused("is not a JSON object")
    yield (
        "a path for a file name",
        _deployed(version, sha256={"../x": "0" * 64}),
        _refused("not a usable manifest"),
    )
    yield (
        "a file that no digest covers",
        _deployed(version, report="other.html"),
        _refused("sha256 does not cover other.html"),
    )
    permuted = _deployed(version, class_order=[2, 1, 0])
    yield "another order of classes", permuted, _refused("class_order must be [0, 1, 2]")
    yield "a model of another slot", _deployed(version, slot="ETH-5m"), _refused("model of ETH-5m")
    yield "an order for another version", whole, _refused("LATEST.json names", order=other)
    yield "other digests in the order", whole, _refused("digests of the order", order=digests)
    yield (
        "features of a class of the bot",
        _deployed(version, computer="bot.features:Mine"),
        _refused("it reads the features of bot.features:Mine"),
    )
    other_features = _deployed(version, schema_hash="0" * 12)
    yield "other features", other_features, _refused("trained on other features")
    yield "another number of features", _deployed(version, feature_dim=18), _refused("takes 18")
    joblib = {"joblib": NAMES["meta_classifier"]}
    yield "no portable form", _deployed(version, forms=joblib), _refused("it has no onnx form")
    yield "no signature", _deployed(version, unsigned=True), _refused("manifest is not signed")
    yield "the signature of another key", _deployed(version, theirs), _refused("not the daemon's")
    yield "a threshold changed", {**whole, LATEST: forged}, _refused("not the daemon's")
    yield (
        "deployed before the live one",
        whole,
        _refused("an old LATEST.json came back", after_ms=DEPLOYED_MS + 1),
    )


def _of_the_files(whole: Files, version: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    for kind in ("model", "golden", "training_meta", "meta_classifier"):
        changed = bytes([version[NAMES[kind]][0] ^ 1]) + version[NAMES[kind]][1:]
        yield f"one bit of {kind} changed", {**whole, NAMES[kind]: changed}, _refused("SHA-256")
    missing = {name: data for name, data in whole.items() if name != NAMES["model"]}
    yield "no model", missing, _refused("cannot be read")


def _of_the_certificate(version: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    name, whole = NAMES["training_meta"], _certificate()
    failed = _json(_certificate(refused="direction"))
    changes = {
        "no certificate": ({}, "has no certificate"),
        "a certificate without a gate": (
            {**whole, "gates": [g for g in whole["gates"] if g["name"] != "loads"]},
            "incomplete, without loads",
        ),
        "a certificate that did not pass": ({**whole, "passed": 1}, "says that it did not pass"),
    }
    for what, (meta, words) in changes.items():
        yield what, _deployed({**version, name: _json(meta)}), _refused(words)
    refused = _deployed({**version, name: failed})
    yield "a gate that refused it", refused, _refused("its gates refused it (direction)")
    promoted = _deployed({**version, name: failed}, promoted_by="alice")
    yield "refused, and promoted by a person", promoted, _accepted()


def _of_the_model(version: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    model, golden = NAMES["model"], NAMES["golden"]
    other = _onnx(model_id=f"20250615_150740_{schema_hash()}")
    yield (
        "a model of another version",
        _deployed({**version, model: other}),
        _refused("its model_id"),
    )
    no_rows = _json({"rows": [], "probabilities": []})
    yield "no golden rows", _deployed({**version, golden: no_rows}), _refused("golden rows have")
    swapped = _onnx(flipped=True)
    yield (
        "a model with UP and DOWN swapped",
        _deployed({**version, model: swapped}),
        _refused("the golden rows come out", needs_model=True),
    )
    renamed = _onnx(output="p")
    yield (
        "an output of another name",
        _deployed({**version, model: renamed}),
        _refused("its outputs", needs_model=True),
    )
    yield (
        "a model that is no ONNX file",
        _deployed({**version, model: b"not a model"}),
        _refused("", needs_model=True),
    )


def _accepted(*, needs_model: bool = False, **asked: Any) -> dict[str, Any]:
    return {**asked, "accepted": True, "words": "", "needs_model": needs_model}


def _refused(words: str, *, needs_model: bool = False, **asked: Any) -> dict[str, Any]:
    return {**asked, "accepted": False, "words": words, "needs_model": needs_model}


def _order(deployed: Mapping[str, bytes]) -> dict[str, Any]:
    document = json.loads(deployed[LATEST])
    return {
        "swap_id": f"{DEPLOYED_MS}-00000000",
        "model_id": document["model_id"],
        "manifest": f"/var/lib/hyperdrift/models/{SLOT}/{LATEST}",
        "sha256": document["sha256"],
        "sklearn": document["sklearn"],
        "reason": "test",
        "issued_ms": DEPLOYED_MS,
    }


def _certificate(refused: str = "") -> dict[str, Any]:
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


def _onnx(
    *, model_id: str = MODEL_ID, flipped: bool = False, output: str = "probabilities"
) -> bytes:
    weights, bias = np.array(_weights()), np.array(_BIAS)
    if flipped:
        weights, bias = weights[:, ::-1].copy(), bias[::-1].copy()
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["features", "weights"], ["weighted"]),
            helper.make_node("Add", ["weighted", "bias"], ["odds"]),
            helper.make_node("Softmax", ["odds"], [output]),
        ],
        "vectors",
        [helper.make_tensor_value_info("features", double, ["N", _WIDTH])],
        [helper.make_tensor_value_info(output, double, ["N", _CLASSES])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    facts = {"model_id": model_id, "schema_hash": schema_hash(), "class_order": "0,1,2"}
    helper.set_model_props(made, facts)
    return bytes(made.SerializeToString(deterministic=True))


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def _text_or_base64(content: bytes | None) -> dict[str, str] | None:
    """Return the content of a changed file as JSON can hold it; None if it is missing."""
    if content is None:
        return None
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
