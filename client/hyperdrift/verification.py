"""Check a version before it may go live in a slot.

A joblib file is a pickle: loading it runs code. So its signature, its digests and its
certificate are checked before anything is unpickled. Its probabilities for the golden rows
are checked before it goes live.
"""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperdrift.errors import VersionNotHere, VersionRefused
from hyperdrift.features import BUILTIN, FEATURE_NAMES, schema_hash
from hyperdrift.loaded_model import LoadedModel, form_of, installed_version, load
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import check_files, json_of, read_manifest

# A certificate must have the verdict of each of these gates.
GATES = frozenset(
    {
        "train_accuracy",
        "test_accuracy",
        "all_classes",
        "overfit",
        "beats_prior",
        "direction",
        "calibrated",
        "beats_champion",
        "parity",
        "loads",
        "budget",
    }
)


def certificate_fault(meta: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the certificate of a version; None if all its gates passed.

    Args:
        meta: Its training_meta; the caller has checked the digest.
    """
    gates = meta.get("gates")
    if not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        return "its training_meta has no certificate"
    if missing := GATES - {str(gate.get("name")) for gate in gates}:
        return f"its certificate is incomplete, without {', '.join(sorted(missing))}"
    if refused := [str(gate.get("name")) for gate in gates if gate.get("passed") is not True]:
        return f"its gates refused it ({', '.join(refused)})"
    return None if meta.get("passed") is True else "its certificate says that it did not pass"


def admit(
    path: Path,
    slot: SlotName,
    order: SwapOrder | None = None,
    verifier: Verifier | None = None,
    *,
    after_ms: int = 0,
    computer: str = BUILTIN,
    form: str = "",
) -> LoadedModel:
    """Make every check of the version that a LATEST.json names, and load it. Blocks for seconds.

    Args:
        path: The LATEST.json; the version's files lie beside it.
        slot: The slot that the version must be trained for.
        order: The swap order for it; None if a bot starts without one.
        verifier: Checks the daemon's signature; None asks for no signature.
        after_ms: When the live version was deployed, ms UTC; a version that was deployed
            before that is a replay.
        computer: `builtin` for the daemon's formulas, or the bot's own `package.module:Class`,
            which computes the features.
        form: What to load, `onnx` or `joblib`; empty for `onnx` where the version has it and
            onnxruntime is installed.

    Raises:
        VersionNotHere: If a file is missing, or not the one that is meant.
        VersionRefused: If another check fails.
    """
    manifest = read_manifest(path)
    form = admit_manifest(
        manifest, slot, order, verifier, after_ms=after_ms, computer=computer, form=form
    )
    return admit_content(manifest, check_files(manifest, path.parent), form)


def admit_manifest(
    manifest: Manifest,
    slot: SlotName,
    order: SwapOrder | None,
    verifier: Verifier | None,
    *,
    after_ms: int,
    computer: str,
    form: str,
) -> str:
    """Make every check that needs no other file; return the form to load.

    The arguments are those of `admit`.

    Raises:
        VersionNotHere: If it is not the manifest of the order, or older than `after_ms`.
        VersionRefused: If another check fails.
    """
    check_order(manifest, order)
    _check_identity(manifest, slot, computer)
    form = form_of(manifest, form)
    if form == "joblib":
        _check_libraries(manifest)
    if verifier is not None:
        verifier.verify(manifest.document)
    if manifest.deployed_ms < after_ms:
        reason = "an old LATEST.json came back; a newer one was live already"
        raise VersionNotHere(manifest.model_id, reason)
    return form


def needed_files(manifest: Manifest, form: str) -> tuple[str, ...]:
    """Return the names of the files that `admit_content` needs."""
    model = manifest.forms[form]
    return manifest.feature_columns, manifest.training_meta, manifest.golden, model


def admit_content(manifest: Manifest, contents: Mapping[str, bytes], form: str) -> LoadedModel:
    """Check the certificate of a version, and load it. Blocks for up to a second.

    Args:
        manifest: Its manifest; `admit_manifest` has checked it.
        contents: File name -> bytes whose digest was compared.
        form: What to load.

    Raises:
        VersionRefused: If a check fails.
    """
    if not manifest.promoted_by:
        name, model_id = manifest.training_meta, manifest.model_id
        fault = certificate_fault(json_of(contents[name], name, model_id))
        if fault is not None:
            raise VersionRefused(model_id, fault)
    return load(manifest, contents, form)


def check_order(manifest: Manifest, order: SwapOrder | None) -> None:
    """Check that a manifest is the one of a swap order; a folder may lag behind it.

    Args:
        manifest: The manifest.
        order: The swap order; None at the start of a bot or without MQTT.

    Raises:
        VersionNotHere: If it is another one.
    """
    if order is None:
        return
    if manifest.model_id != order.model_id:
        reason = f"LATEST.json names {manifest.model_id}, the order {order.model_id}"
        raise VersionNotHere(order.model_id, reason)
    if dict(manifest.sha256) != order.sha256:
        reason = "the digests of the order are not those of LATEST.json"
        raise VersionNotHere(order.model_id, reason)


def _check_identity(manifest: Manifest, slot: SlotName, computer: str) -> None:
    """Refuse a version whose slot or features do not fit.

    Raises:
        VersionRefused: If one of them does not.
    """
    reason = None
    if manifest.slot != str(slot):
        reason = f"it is a model of {manifest.slot}, not of {slot}"
    elif manifest.computer != computer:
        reason = f"it reads the features of {manifest.computer}, this bot computes {computer}"
    elif computer == BUILTIN and manifest.schema_hash != schema_hash():
        reason = "it was trained on other features; install the same hyperdrift on both sides"
    elif manifest.feature_dim != len(FEATURE_NAMES):
        reason = f"it takes {manifest.feature_dim} features, must take {len(FEATURE_NAMES)}"
    if reason is not None:
        raise VersionRefused(manifest.model_id, reason)


def _check_libraries(manifest: Manifest) -> None:
    """Refuse a pickle of another scikit-learn or Python.

    Raises:
        VersionRefused: If this process cannot load it.
    """
    installed, reason = installed_version("scikit-learn"), None
    if not installed:
        reason = (
            "scikit-learn, which its joblib form needs, is not installed here; "
            "pip install 'hyperdrift-client[onnx]' and retrain, or 'hyperdrift-client[joblib]'"
        )
    elif not same_library(manifest.sklearn, installed):
        reason = (
            f"it was written by scikit-learn {manifest.sklearn} and {installed} is "
            f"installed here; install {_minor(manifest.sklearn)} or set retrain.python to this one"
        )
    elif not same_language(manifest.python):
        reason = (
            f"it was written by Python {manifest.python}, this bot runs "
            f"{platform.python_version()}; set retrain.python to this one"
        )
    if reason is not None:
        raise VersionRefused(manifest.model_id, reason)


def same_library(saved_with: str, installed: str) -> bool:
    """Whether one version of scikit-learn may load a model that another version saved."""
    return _minor(saved_with) == _minor(installed)


def same_language(saved_with: str) -> bool:
    """Whether this Python may load a file that another version of Python wrote.

    Minor versions read each other's pickles of scikit-learn's classes, as these hold no code.
    The golden rows show any other difference.
    """
    return saved_with.partition(".")[0] == platform.python_version_tuple()[0]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
