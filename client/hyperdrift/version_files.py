"""Read the files of one version; what is not as its manifest says raises `VersionRefused`.

A reader compares every digest before anything is unpickled. It then uses the bytes that it
compared, so that replacing a file after the check has no effect. A file that is missing or has
another digest may still be on its way here: then it is `VersionNotHere`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hyperdrift.errors import VersionNotHere, VersionRefused
from hyperdrift.manifest import Manifest, parse
from hyperdrift.process.home import expanded

LATEST: Final = "LATEST.json"
"""The pointer in a slot's folder: the only file that is ever replaced."""

_REMEDY: Final = "restore it from backup/, or go back with `hyperdrift models rollback`"


def as_path(path: Path | str | None) -> Path | None:
    """Return a path that a bot gave, also as a text with `~`; None for None and for ""."""
    return expanded(path) if path else None


def read_manifest(path: Path) -> Manifest:
    """Read LATEST.json or a version's own manifest, and check its form.

    Raises:
        VersionNotHere: If it is missing, not JSON, or a field is missing or of the wrong kind.
    """
    return manifest_of(_read(path), str(path))


def manifest_of(content: bytes, name: str) -> Manifest:
    """Return the manifest in the content of a file, after a check of its form.

    Raises:
        VersionNotHere: If it is not JSON, or a field is missing or of the wrong kind.
    """
    try:
        return parse(json_of(content, name, ""))
    except VersionRefused as e:
        raise VersionNotHere("", e.reason) from e
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as e:
        reason = f"not a usable manifest ({type(e).__name__}: {e})"
        raise VersionNotHere("", f"{name}: {reason}; {_REMEDY}") from e


def check_files(manifest: Manifest, folder: Path) -> dict[str, bytes]:
    """Compare every file with its digest.

    Args:
        manifest: Names the files.
        folder: The folder of the files.

    Returns:
        File name -> the bytes that were compared; use these.

    Raises:
        VersionNotHere: If a file is missing or its digest differs.
    """
    return {name: read_file(manifest, folder, name) for name in manifest.sha256}


def read_file(manifest: Manifest, folder: Path, name: str) -> bytes:
    """Return a file of a version, whose digest was compared.

    Raises:
        VersionNotHere: If it is missing or its digest differs.
    """
    content, expected = _read(folder / name, manifest.model_id), manifest.sha256[name]
    if (actual := hashlib.sha256(content).hexdigest()) != expected:
        reason = f"its SHA-256 is {actual[:12]}, the manifest says {expected[:12]}; restore it"
        raise VersionNotHere(manifest.model_id, f"{folder / name}: {reason}")
    return content


def read_certificate(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """Compare the digest of a version's training_meta, and read it.

    Raises:
        VersionRefused: If it is missing, damaged or no JSON object.
    """
    name = manifest.training_meta
    content = _read(folder / name, manifest.model_id)
    if hashlib.sha256(content).hexdigest() != manifest.sha256.get(name):
        raise VersionRefused(manifest.model_id, f"{name}: its SHA-256 is not the manifest's")
    return json_of(content, name, manifest.model_id)


def json_of(content: bytes, name: str, model_id: str) -> dict[str, Any]:
    """Return the JSON object in a file of a version.

    Raises:
        VersionRefused: If the file holds anything else.
    """
    try:
        document = json.loads(content.decode())
        if b"\\u" in content:  # an escape may be half a character, which nobody can write again
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as e:
        raise VersionRefused(model_id, f"{name}: is not JSON ({e}); {_REMEDY}") from e
    if not isinstance(document, dict):
        raise VersionRefused(model_id, f"{name}: is not a JSON object; {_REMEDY}")
    return document


def check_slot(manifest: Manifest, slot: object) -> None:
    """Refuse a version of another slot.

    Raises:
        VersionRefused: If the manifest names another slot.
    """
    if manifest.slot != str(slot):
        reason = f"it is a model of {manifest.slot}, not of {slot}"
        raise VersionRefused(manifest.model_id, reason)


def document_of(path: Path) -> dict[str, Any] | None:
    """Return the content of a pointer; None if it is missing or cannot be read."""
    try:
        return dict(read_manifest(path).document)
    except VersionRefused:
        return None


def deployed_ms(document: Mapping[str, Any]) -> int:
    """Return when the version of a pointer was deployed, ms UTC; 0 if it does not say."""
    return parse(document).deployed_ms if document else 0


def _read(path: Path, model_id: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        reason = f"{path}: cannot be read ({e.strerror}); restore it"
        raise VersionNotHere(model_id, reason) from e
