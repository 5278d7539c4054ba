"""Which form of a version the daemon serves."""

from hyperdrift.manifest import Manifest


def served_form(manifest: Manifest) -> str:
    """Return the form that the daemon loads: the portable one, whose libraries are its own.

    The joblib is for bots; its scikit-learn may be another one. Only versions that were made
    before there was a portable form are loaded from it.
    """
    return "onnx" if "onnx" in manifest.forms else "joblib"
