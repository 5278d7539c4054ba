"""The vectors for other languages say what the client does."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.registry.signing import Signer, message_bytes
from docs.generate import vectors, version_vectors
from docs.generate.pages import VECTORS
from hyperdrift.errors import BadInput, VersionRefused
from hyperdrift.loaded_model import load_version
from hyperdrift.manifest import canonical
from hyperdrift.mqtt.messages import SwapOrder, decode, encode
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit
from hyperdrift.version_files import json_of


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / name).read_text())
    return found


CANONICAL, SIGNATURES, CASES = map(read, ("canonical.json", "signatures.json", "cases.json"))


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "test.pub"
    path.write_text(SIGNATURES["key"]["public_pem"])
    return path


def put(case: dict[str, Any], folder: Path) -> Path:
    """Copy the version, changed as a case says; return its LATEST.json."""
    shutil.copytree(VECTORS / "version", folder)
    for name, content in case["files"].items():
        path = folder / name
        if content is None:
            path.unlink()
        elif "text" in content:
            path.write_bytes(content["text"].encode())
        else:
            path.write_bytes(base64.b64decode(content["base64"]))
    return folder / "LATEST.json"


@named(CANONICAL["accepted"])
def test_the_client_signs_these_bytes_of_a_text(case: dict[str, Any]) -> None:
    found = canonical(json_of(case["text"].encode(), "text", ""))
    assert found == case["canonical"].encode()
    assert hashlib.sha256(found).hexdigest() == case["sha256"]


@named(CANONICAL["refused"])
def test_the_client_refuses_what_is_no_json_object(case: dict[str, Any]) -> None:
    with pytest.raises((VersionRefused, ValueError)):
        canonical(json_of(case["text"].encode(), "text", ""))


@named(SIGNATURES["cases"])
def test_the_client_takes_a_signature_or_not(case: dict[str, Any], key: Path) -> None:
    assert Verifier.load(key).verify_payload(case["text"].encode()) is case["signed"]


@named(CASES["orders"])
def test_the_client_reads_an_order_or_not(case: dict[str, Any]) -> None:
    if case["accepted"]:
        assert decode(case["text"].encode(), SwapOrder).model_id == version_vectors.MODEL_ID
        return
    with pytest.raises(BadInput):
        decode(case["text"].encode(), SwapOrder)


@named(CASES["cases"])
def test_the_client_admits_a_version_or_refuses_it_with_these_words(
    case: dict[str, Any], key: Path, tmp_path: Path
) -> None:
    path, verifier = put(case, tmp_path / "v"), Verifier.load(key)
    order = decode(json.dumps(case["order"]).encode(), SwapOrder) if "order" in case else None
    after_ms, slot = case.get("after_ms", 0), SlotName.parse(CASES["slot"])
    if case["accepted"]:
        loaded = admit(path, slot, order, verifier, after_ms=after_ms, form="onnx")
        assert loaded.model_id == version_vectors.MODEL_ID
        return
    with pytest.raises(VersionRefused) as caught:
        admit(path, slot, order, verifier, after_ms=after_ms, form="onnx")
    assert case["words"] in caught.value.reason


def test_the_golden_rows_of_the_version_come_out_as_it_says() -> None:
    loaded = load_version(VECTORS / "version" / "LATEST.json", form="onnx")
    assert loaded.check_golden() < 1e-11
    assert {int(row.argmax()) for row in loaded.golden[1]} == {0, 1, 2}
    np.testing.assert_allclose(loaded.golden[1].sum(axis=1), 1)


def test_the_folder_of_the_version_has_no_other_files() -> None:
    assert {path.name for path in (VECTORS / "version").iterdir()} == set(version_vectors.files())


def test_in_an_order_as_it_is_sent_each_number_has_the_digits_that_are_signed() -> None:
    """So whoever verifies may keep a number as it stands in the payload."""
    order = SwapOrder(
        swap_id="1-0",
        model_id="m",
        manifest="/m/LATEST.json",
        sha256={"b": "1", "a": "2"},
        sklearn="1.9.0",
        reason="dérive 😀",
        issued_ms=2**53 + 1,
    )
    payload = encode(order)
    kept = json.loads(payload, parse_int=str, parse_float=str)
    assert kept["issued_ms"] == str(2**53 + 1)
    assert message_bytes(order) == canonical(json.loads(payload))


def test_another_key_signed_none_of_the_versions() -> None:
    document = json.loads((VECTORS / "version" / "LATEST.json").read_text())
    assert document["signature"] == Signer(vectors.key()).sign(document)
    assert document["signature"] != Signer(vectors.other_key()).sign(document)
