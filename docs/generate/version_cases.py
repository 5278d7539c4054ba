"""The ways in which the small signed version is refused, and payloads that are orders or not."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from daemon.registry.signing import Signer
from docs.generate.vectors import other_key, public_pem
from docs.generate.version_vectors import (
    DEPLOYED_MS,
    NAMES,
    SLOT,
    Files,
    as_json,
    as_onnx,
    certificate,
    deployed,
    files,
    version,
)
from hyperdrift.features import FEATURE_NAMES, schema_hash
from hyperdrift.version_files import LATEST


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
    orders = [{"name": name, "text": text, "accepted": ok} for name, text, ok in _orders()]
    whole_page = {"slot": SLOT, "public_pem": public_pem(), "orders": orders, "cases": cases}
    return json.dumps(whole_page, indent=1) + "\n"


def _cases() -> Iterator[tuple[str, Files, dict[str, Any]]]:
    """Yield a name, the files, and how they are asked for and answered.

    `order` is the swap order if there is one, `after_ms` when the live version was deployed.
    `needs_model` is true where only loading the model shows the fault.
    """
    whole, plain = files(), version()
    yield "as it is", whole, _accepted(needs_model=True)
    yield "as it is, with its order", whole, _accepted(order=_order(whole))
    yield "deployed when the live one was", whole, _accepted(after_ms=DEPLOYED_MS)
    yield from _of_the_pointer(whole, plain)
    yield from _of_another_version(whole, plain)
    yield from _of_the_signature(whole, plain)
    yield from _of_the_files(whole, plain)
    yield from _of_the_certificate(plain)
    yield from _of_the_model(plain)


def _of_the_pointer(whole: Files, plain: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    half, order = whole[LATEST][:300], _order(whole)
    nothing = {name: data for name, data in whole.items() if name != LATEST}
    yield "no LATEST.json", nothing, _refused("cannot be read")
    yield "LATEST.json cut short", {**whole, LATEST: half}, _refused("is not JSON")
    yield "a list for LATEST.json", {**whole, LATEST: b"[1]"}, _refused("is not a JSON object")
    path = {**order["sha256"], "../x": "0" * 64}
    odd: dict[str, dict[str, Any]] = {
        "a path for a file name": {"sha256": path},
        "a list for digests": {"sha256": list(path)},
        "null for a model id": {"model_id": None},
        "a text for a number": {"trained_to_ms": "soon"},
        "no signal thresholds": {"signal_threshold": {}},
        "a text for the time of the deploy": {"deployed": {"at_ms": "now"}},
    }
    for name, changes in odd.items():
        yield name, deployed(plain, **changes), _refused("not a usable manifest")
    yield (
        "a file that no digest covers",
        deployed(plain, report="other.html"),
        _refused("sha256 does not cover other.html"),
    )
    permuted = deployed(plain, class_order=[2, 1, 0])
    yield "another order of classes", permuted, _refused("class_order must be [0, 1, 2]")


def _of_another_version(whole: Files, plain: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    order = _order(whole)
    other = {**order, "model_id": f"20250615_150740_{schema_hash()}"}
    digests = {**order, "sha256": {**order["sha256"], NAMES["model"]: "0" * 64}}
    yield "a model of another slot", deployed(plain, slot="ETH-5m"), _refused("model of ETH-5m")
    yield "an order for another version", whole, _refused("LATEST.json names", order=other)
    yield "other digests in the order", whole, _refused("digests of the order", order=digests)
    yield (
        "features of a class of the bot",
        deployed(plain, computer="bot.features:Mine"),
        _refused("it reads the features of bot.features:Mine"),
    )
    other_features = deployed(plain, schema_hash="0" * 12)
    yield "other features", other_features, _refused("trained on other features")
    yield "another number of features", deployed(plain, feature_dim=18), _refused("takes 18")
    joblib = {"joblib": NAMES["meta_classifier"]}
    yield "no portable form", deployed(plain, forms=joblib), _refused("it has no onnx form")


def _of_the_signature(whole: Files, plain: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    theirs = Signer(other_key())
    forged = whole[LATEST].replace(b'"up": 0.35', b'"up": 0.01')
    yield "no signature", deployed(plain, unsigned=True), _refused("manifest is not signed")
    yield "the signature of another key", deployed(plain, theirs), _refused("not the daemon's")
    yield "a threshold changed", {**whole, LATEST: forged}, _refused("not the daemon's")
    yield (
        "deployed before the live one",
        whole,
        _refused("an old LATEST.json came back", after_ms=DEPLOYED_MS + 1),
    )


def _of_the_files(whole: Files, plain: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    for kind in ("model", "golden", "training_meta", "meta_classifier"):
        changed = bytes([plain[NAMES[kind]][0] ^ 1]) + plain[NAMES[kind]][1:]
        yield f"one bit of {kind} changed", {**whole, NAMES[kind]: changed}, _refused("SHA-256")
    missing = {name: data for name, data in whole.items() if name != NAMES["model"]}
    yield "no model", missing, _refused("cannot be read")


def _of_the_certificate(plain: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    name, whole = NAMES["training_meta"], certificate()
    failed = as_json(certificate(refused="direction"))
    changes = {
        "no certificate": ({}, "has no certificate"),
        "a certificate without a gate": (
            {**whole, "gates": [g for g in whole["gates"] if g["name"] != "loads"]},
            "incomplete, without loads",
        ),
        "a certificate that did not pass": ({**whole, "passed": 1}, "says that it did not pass"),
    }
    for what, (meta, words) in changes.items():
        yield what, deployed({**plain, name: as_json(meta)}), _refused(words)
    refused = deployed({**plain, name: failed})
    yield "a gate that refused it", refused, _refused("its gates refused it (direction)")
    promoted = deployed({**plain, name: failed}, promoted_by="alice")
    yield "refused, and promoted by a person", promoted, _accepted()


def _orders() -> Iterator[tuple[str, str, bool]]:
    """Yield a name, a payload, and whether it is a swap order."""
    order = _order(files())
    yield "as it is", json.dumps(order), True
    yield "a field that is not known yet", json.dumps({**order, "urgent": True}), True
    yield "no JSON", json.dumps(order)[:-1], False
    yield "a list", json.dumps([order]), False
    for name in order:
        without = {field: value for field, value in order.items() if field != name}
        yield f"no {name}", json.dumps(without), False
        yield f"null for {name}", json.dumps({**order, name: None}), False
    yield "half a millisecond", json.dumps({**order, "issued_ms": 0.5}), False
    yield "a number for a digest", json.dumps({**order, "sha256": {"a": 1}}), False


def _of_the_model(plain: Files) -> Iterator[tuple[str, Files, dict[str, Any]]]:
    model, golden = NAMES["model"], NAMES["golden"]
    other = as_onnx(model_id=f"20250615_150740_{schema_hash()}")
    yield (
        "a model of another version",
        deployed({**plain, model: other}),
        _refused("its model_id"),
    )
    no_rows = as_json({"rows": [], "probabilities": []})
    yield "no golden rows", deployed({**plain, golden: no_rows}), _refused("golden rows have")
    few = as_json({"feature_cols": list(FEATURE_NAMES[1:])})
    yield (
        "sixteen names of features",
        deployed({**plain, NAMES["feature_columns"]: few}),
        _refused(NAMES["feature_columns"]),
    )
    swapped = as_onnx(flipped=True)
    yield (
        "a model with UP and DOWN swapped",
        deployed({**plain, model: swapped}),
        _refused("the golden rows come out", needs_model=True),
    )
    yield (
        "an input of another name",
        deployed({**plain, model: as_onnx(given="x")}),
        _refused("its inputs", needs_model=True),
    )
    yield (
        "an output of another name",
        deployed({**plain, model: as_onnx(output="p")}),
        _refused("its outputs", needs_model=True),
    )
    yield (
        "a model that is no ONNX file",
        deployed({**plain, model: b"not a model"}),
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


def _text_or_base64(content: bytes | None) -> dict[str, str] | None:
    """Return the content of a changed file as JSON can hold it; None if it is missing."""
    if content is None:
        return None
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
