"""Load a version in the form that the daemon serves."""

from pathlib import Path

from hyperdrift import version_files
from hyperdrift.loaded_model import LoadedModel, load
from hyperdrift.manifest import Manifest


def served_form(manifest: Manifest) -> str:
    """Return the form that the daemon loads: the portable one, whose libraries are its own.

    The joblib is for bots; its scikit-learn may be another one. Only versions that were made
    before there was a portable form are loaded from it.
    """
    return "onnx" if "onnx" in manifest.forms else "joblib"


def load_served(manifest_path: Path) -> LoadedModel:
    """Compare the digests of a version and load it as the daemon serves it.

    Raises:
        VersionRefused: If the version differs from its manifest in anything.
    """
    manifest = version_files.read_manifest(manifest_path)
    contents = version_files.check_files(manifest, manifest_path.parent)
    return load(manifest, contents, served_form(manifest))
