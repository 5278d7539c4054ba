"""Check Ed25519 signatures, so that a bot with the public key loads only its daemon's versions.

A digest proves that a file is whole, not who made it. A model file is a pickle: anybody who
can place one and send a swap order runs code in the bot.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hyperdrift.errors import BadInput, ConfigError, VersionRefused
from hyperdrift.manifest import canonical
from hyperdrift.mqtt.messages import json_object


class Verifier:
    """Checks signatures with one public key."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    @classmethod
    def load(cls, path: Path) -> "Verifier":
        """Read a PEM public key.

        Raises:
            ConfigError: If it is missing, unreadable or not an Ed25519 key.
        """
        try:
            key = serialization.load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as e:
            why = e.strerror if isinstance(e, OSError) else "it is no public key"
            raise ConfigError(f"public key {path} cannot be used ({why}): copy it anew") from e
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(f"public key {path} is not an Ed25519 key; copy the daemon's")
        return cls(key)

    def verify(self, manifest: Mapping[str, Any]) -> None:
        """Check that the daemon signed a manifest.

        Raises:
            VersionRefused: If the signature is missing or not the daemon's.
        """
        signature = manifest.get("signature")
        if not signature:
            raise VersionRefused(str(manifest.get("model_id", "")), "its manifest is not signed")
        if not self._is_signed(manifest, str(signature)):
            reason = "the signature of its manifest is not the daemon's; copy the daemon's key"
            raise VersionRefused(str(manifest.get("model_id", "")), reason)

    def _is_signed(self, document: Mapping[str, Any], signature: str) -> bool:
        try:
            return self.verify_bytes(canonical(document), signature)
        except (TypeError, ValueError, RecursionError):  # not a value that JSON can express
            return False

    def verify_payload(self, payload: bytes) -> bool:
        """Return whether the daemon signed this MQTT payload, a JSON object with `signature`.

        All fields as received are checked: a newer daemon may sign fields that are unknown here.
        """
        try:
            document = json_object(payload)
        except BadInput:
            return False
        return self._is_signed(document, str(document.get("signature", "")))

    def verify_bytes(self, data: bytes, signature: str) -> bool:
        """Return whether `signature` (base64) is the daemon's signature of `data`."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), data)
        except (InvalidSignature, ValueError):
            return False
        return True
