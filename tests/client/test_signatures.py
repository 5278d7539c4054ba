import stat
from pathlib import Path

import msgspec
import pytest

from daemon.mqtt.messages import Command
from daemon.registry.signing import Signer, generate
from hyperdrift.errors import BadInput, ConfigError, VersionRefused
from hyperdrift.signatures import Verifier
from tests.daemon.powerless import without_roots_power


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "keys" / "private.pem", tmp_path / "keys" / "public.pem"
    generate(private, public)
    return private, public


def test_a_signed_manifest_is_accepted_whatever_the_order_of_its_keys(
    keys: tuple[Path, Path],
) -> None:
    signer, verifier = Signer.load(keys[0]), Verifier.load(keys[1])
    manifest = {"model_id": "m", "sha256": {"a": "1"}, "threshold": 0.005}
    signature = signer.sign(manifest)
    verifier.verify({"signature": signature, **dict(reversed(manifest.items()))})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_id": "other"}, "not the daemon's"),
        ({"promoted_by": "mallory"}, "not the daemon's"),
        ({"signature": "AAAA"}, "not the daemon's"),
        ({"signature": "no base64 !"}, "not the daemon's"),
        ({"signature": None}, "not signed"),
        ({"new_field": float("nan")}, "not the daemon's"),
        ({"new_field": "\ud800"}, "not the daemon's"),
    ],
)
def test_a_manifest_changed_after_signing_is_refused(
    keys: tuple[Path, Path], change: dict[str, object], why: str
) -> None:
    manifest = {"model_id": "m", "sha256": {"a": "1"}}
    signed = {**manifest, "signature": Signer.load(keys[0]).sign(manifest)}
    with pytest.raises(VersionRefused, match=why):
        Verifier.load(keys[1]).verify(signed | change)


def test_the_private_key_is_readable_by_its_owner_alone(keys: tuple[Path, Path]) -> None:
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600


def test_an_existing_private_key_is_never_overwritten(keys: tuple[Path, Path]) -> None:
    before = keys[0].read_bytes()
    with pytest.raises(BadInput, match="exists"):
        generate(*keys)
    assert keys[0].read_bytes() == before


def test_a_message_is_verified_as_received_fields_of_a_newer_daemon_included(
    keys: tuple[Path, Path],
) -> None:
    signer, verifier = Signer.load(keys[0]), Verifier.load(keys[1])
    command = Command(command="retrain", request_id="1", reason="é", issued_ms=5)
    signed = msgspec.structs.replace(command, signature=signer.sign_message(command))
    payload = msgspec.json.encode(signed)
    assert verifier.verify_payload(payload)
    assert not verifier.verify_payload(payload.replace(b"retrain", b"promote"))
    newer = {"swap_id": "1", "colour": "blue"}
    assert verifier.verify_payload(msgspec.json.encode({**newer, "signature": signer.sign(newer)}))
    for nonsense in (b"", b"[]", b"{}", b'{"signature": 5}', b"\xff"):
        assert not verifier.verify_payload(nonsense)


@pytest.mark.parametrize("load", [Signer.load, Verifier.load])
def test_a_key_that_is_missing_or_nonsense_is_an_error_of_configuration(
    tmp_path: Path, load
) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        load(tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("not a key")
    with pytest.raises(ConfigError, match="cannot be used"):
        load(tmp_path / "bad.pem")


LOAD = """
from pathlib import Path
from hyperdrift.errors import ConfigError
from daemon.registry.signing import Signer
try:
    Signer.load(Path({path!r}))
except ConfigError as e:
    print(e)
"""


def test_a_key_that_may_not_be_read_is_given_to_its_user_and_not_removed(
    keys: tuple[Path, Path],
) -> None:
    keys[0].chmod(0)
    said = without_roots_power(LOAD.format(path=str(keys[0])))
    assert said.startswith(f"signing key {keys[0]} cannot be read: give it to the user")
    assert "remove" not in said
