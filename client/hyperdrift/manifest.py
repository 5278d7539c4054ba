"""Check the form of a manifest; this module reads no files.

`retrain` writes manifests, and daemon and bot read them. Only this module checks their form.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

CLASS_ORDER: Final = (0, 1, 2)
FILE_FIELDS: Final = ("meta_classifier", "feature_columns", "training_meta", "golden", "report")
_STAMP: Final = "%Y%m%d_%H%M%S"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest whose form was checked; `document` is all of it, as signed.

    `deployed_ms` is when the version was deployed, ms UTC; it grows with each deploy. It is 0
    in a version's own manifest. `trained_to_ms` is the end of the training data, ms UTC. `forms`
    has the file of each form of the model; one that was made before there were two has `joblib`.
    """

    model_id: str
    slot: str
    interval: str
    schema_hash: str
    feature_dim: int
    computer: str
    horizon_bars: int
    threshold: float | str
    up: float
    down: float
    trained_to_ms: int
    sklearn: str
    numpy: str
    python: str
    promoted_by: str | None
    deployed_ms: int
    signature: str | None
    meta_classifier: str
    feature_columns: str
    training_meta: str
    golden: str
    report: str
    forms: Mapping[str, str]
    sha256: Mapping[str, str]
    document: Mapping[str, Any] = field(repr=False)


def stamp(at_ms: int) -> str:
    """Return a time as `YYYYmmdd_HHMMSS` in UTC.

    Args:
        at_ms: The time, ms UTC.
    """
    return datetime.fromtimestamp(at_ms / 1000, tz=timezone.utc).strftime(_STAMP)


def manifest_name(version_id: str) -> str:
    """Return the file name of a version's own immutable manifest."""
    return f"manifest_{version_id}.json"


def canonical(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed: JSON with sorted keys, no spaces, no `signature`."""
    unsigned = {key: value for key, value in manifest.items() if key != "signature"}
    return json.dumps(
        unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def parse(document: Mapping[str, Any]) -> Manifest:
    """Check the form of a manifest.

    Raises:
        KeyError, TypeError, ValueError: If a field is missing or has the wrong type.
    """
    if list(document["class_order"]) != list(CLASS_ORDER):
        msg = f"class_order must be [0, 1, 2], was {document['class_order']}"
        raise ValueError(msg)
    signal, threshold = document["signal_threshold"], document["threshold"]
    sha256 = {_plain(name): str(digest) for name, digest in document["sha256"].items()}
    forms = {str(k): v for k, v in document.get("forms", {}).items()}
    forms.setdefault("joblib", document["meta_classifier"])
    named = {*(document[name] for name in FILE_FIELDS), *forms.values()}
    if missing := sorted(named - set(sha256)):
        msg = f"sha256 does not cover {', '.join(missing)}"
        raise ValueError(msg)
    return Manifest(
        model_id=_plain(document["model_id"]),
        slot=str(document["slot"]),
        interval=str(document["interval"]),
        schema_hash=str(document["schema_hash"]),
        feature_dim=int(document["feature_dim"]),
        computer=str(document.get("computer", "builtin")),
        horizon_bars=int(document["horizon_bars"]),
        threshold=threshold if isinstance(threshold, str) else float(threshold),
        up=float(signal["up"]),
        down=float(signal["down"]),
        trained_to_ms=int(document["trained_to_ms"]),
        sklearn=str(document["sklearn"]),
        numpy=str(document.get("numpy", "")),
        python=str(document["python"]),
        promoted_by=document.get("promoted_by"),
        deployed_ms=int(document.get("deployed", {"at_ms": 0})["at_ms"]),
        signature=document.get("signature"),
        meta_classifier=document["meta_classifier"],
        feature_columns=document["feature_columns"],
        training_meta=document["training_meta"],
        golden=document["golden"],
        report=document["report"],
        forms=forms,
        sha256=sha256,
        document=document,
    )


def _plain(name: Any) -> str:
    """Return a file name, if it cannot lead out of its folder.

    Raises:
        ValueError: If it could.
    """
    if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
        msg = f"{name!r} is not a plain file name"
        raise ValueError(msg)
    return name
