"""Ed25519 signatures: a bot that has the public key loads only what this daemon released.

A digest proves that a file is whole, not who made it, and a model file is a pickle:
whoever can place one and announce it runs code in the bot.
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
        """Accept a manifest that the daemon signed.

        Raises:
            VersionRefused: If the signature is missing or not the daemon's.
        """
        signature = manifest.get("signature")
        if not signature:
            raise VersionRefused(str(manifest.get("model_id", "")), "its manifest is not signed")
        if not self.verify_bytes(canonical(manifest), str(signature)):
            reason = "the signature of its manifest is not the daemon's; copy the daemon's key"
            raise VersionRefused(str(manifest.get("model_id", "")), reason)

    def verify_payload(self, payload: bytes) -> bool:
        """Return whether the daemon signed this MQTT payload, a JSON object with `signature`.

        The bytes as received are judged: a newer daemon may sign fields unknown here.
        """
        try:
            document = json_object(payload)
            return self.verify_bytes(canonical(document), str(document.get("signature", "")))
        except (BadInput, ValueError, RecursionError):
            return False

    def verify_bytes(self, data: bytes, signature: str) -> bool:
        """Return whether `signature` (base64) is the daemon's for `data`."""
        try:
            self._key.verify(base64.b64decode(signature, validate=True), data)
        except (InvalidSignature, ValueError):
            return False
        return True
