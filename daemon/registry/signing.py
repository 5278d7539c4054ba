"""Sign versions, orders and commands with Ed25519 keys; say which key signed a message."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.core.atomic_files import Files
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.manifest import canonical
from hyperdrift.signatures import Verifier

_RESTORE: Final = "put it back from a copy, or remove it and its .pub"


def generate(private_path: Path, public_path: Path) -> None:
    """Write a new key pair as PEM, the private one readable by its owner alone.

    Raises:
        BadInput: If the private key exists, because versions signed with it would be refused;
            or if it cannot be written.
    """
    files = Files()
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        files.make_folder(private_path.parent)
        files.make_folder(public_path.parent)
        files.create(private_path, private, mode=0o600)
    except FileExistsError as e:
        msg = f"{private_path} exists; move it away first if whoever knows its public key is to get"
        raise BadInput(f"{msg} a new one") from e
    except OSError as e:
        raise BadInput(f"{private_path} cannot be written: {e.strerror}") from e
    write_public(private_path, public_path)


def write_public(private_path: Path, public_path: Path) -> None:
    """Write the public key that belongs to a private one.

    Raises:
        ConfigError: If the private key cannot be used.
    """
    public = Signer.load(private_path).public_pem()
    Files().replace(public_path, public)


def message_bytes(message: Any) -> bytes:
    """Return the bytes that are signed for an MQTT message: canonical JSON without `signature`."""
    return canonical(msgspec.to_builtins(message))


class Signer:
    """Signs with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path, remedy: str = _RESTORE) -> Self:
        """Read a PEM private key.

        Args:
            path: The file.
            remedy: What to do if it is none.

        Raises:
            ConfigError: If it is missing, unreadable or not an Ed25519 key.
        """
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except PermissionError as e:
            whose = "give it to the user who is to sign with it, as that user's alone (mode 600)"
            raise ConfigError(f"signing key {path} cannot be read: {whose}") from e
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as e:
            why = e.strerror if isinstance(e, OSError) else "it is no private key"
            raise ConfigError(f"signing key {path} cannot be used ({why}): {remedy}") from e
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"signing key {path} is not an Ed25519 key; make a new one")
        return cls(key)

    def public_pem(self) -> bytes:
        """Return the public key as PEM."""
        return self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, manifest: Mapping[str, Any]) -> str:
        """Return the base64 signature of a manifest, over its canonical form."""
        return self.sign_bytes(canonical(manifest))

    def sign_message(self, message: Any) -> str:
        """Return the base64 signature of an MQTT message."""
        return self.sign_bytes(message_bytes(message))

    def sign_bytes(self, data: bytes) -> str:
        """Return the base64 signature of `data`."""
        return base64.b64encode(self._key.sign(data)).decode()


class KeyRing:
    """Several public keys, each named by its file; finds the one that signed a document."""

    def __init__(self, keys: Iterable[tuple[str, Verifier]]) -> None:
        self._keys = tuple(keys)  # two files may have the same name

    @classmethod
    def load(cls, paths: Iterable[Path]) -> Self:
        """Read PEM public keys.

        Raises:
            ConfigError: If one is missing, unreadable or not an Ed25519 key.
        """
        return cls([(path.stem, Verifier.load(path)) for path in paths])

    def signer_of(self, document: Mapping[str, Any]) -> str | None:
        """Return the name of the key that signed `document`, None if no key of the ring did."""
        signature = str(document.get("signature") or "")
        try:
            data = canonical(document)
        except (TypeError, ValueError, RecursionError):  # not a value that JSON can express
            return None
        found = (name for name, key in self._keys if key.verify_bytes(data, signature))
        return next(found, None)
