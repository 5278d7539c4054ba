"""Prove the two forms of a saved model: that a bot can load each, and that they say the same."""

import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrain.artifact import Folder
from retrain.forms import interpreters
from retrain.forms.load_proof import PORTABLE_TOLERANCE, LoadProof
from retrain.forms.parts import Parts
from retrain.forms.proof_rows import proof_rows
from retrain.manifest import Version

_LEFT_OUT: Final = "left out: a candidate of a backtest is loaded by no bot"


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proof of each form, and the size of the larger file in bytes; `done` if it was made."""

    joblib: LoadProof
    onnx: LoadProof
    size_bytes: int
    done: bool = True


def prove(
    version: Version,
    directory: Folder,
    features: NDArray[np.float64],
    fresh: interpreters.FreshInterpreter,
    onnx_python: str = "",
) -> Proofs:
    """Load the joblib file in a fresh interpreter, make the portable form and load that too.

    The two go on beside each other.

    Args:
        version: What was saved; without `parts` it gets no portable form.
        directory: Where its files lie, and the portable form will.
        features: Rows that the model learnt from, shape (n, 17).
        fresh: Must be able to load the joblib file; best it has been started.
        onnx_python: Has onnx and onnxruntime; ours if empty.
    """
    files, portable = version.files, directory / version.portable
    saved = directory / files["meta_classifier"]
    fresh.start()
    fresh.ask(saved, directory / files["golden"])
    size, python = saved.stat().st_size, onnx_python or sys.executable
    other = _portable(version, version.parts, directory, features, python)
    size = max(size, portable.stat().st_size if portable.exists() else 0)
    if not other.difference <= PORTABLE_TOLERANCE:
        portable.unlink(missing_ok=True)  # nobody may load it, also if the version is promoted
    return Proofs(fresh.answer(), other, size)


def left_out(version: Version, directory: Folder) -> Proofs:
    """Return what stands for the proofs where none is made, and no portable form."""
    size = (directory / version.files["meta_classifier"]).stat().st_size
    return Proofs(LoadProof(error=_LEFT_OUT), LoadProof(error=_LEFT_OUT), size, done=False)


def _portable(
    version: Version,
    parts: Parts | None,
    directory: Folder,
    features: NDArray[np.float64],
    python: str,
) -> LoadProof:
    """Make the portable form and load it in a fresh interpreter."""
    if parts is None:
        return LoadProof(error="it cannot be made (the model is built in another way than a stack)")
    portable, names = directory / version.portable, (version.model_id, version.schema_hash)
    if why := interpreters.convert(python, directory / version.files["parts"], portable, *names):
        return LoadProof(error=f"it cannot be made ({why})")
    try:
        rows, expected = _expected(version, parts, features)
    except ValueError as e:
        return LoadProof(error=f"the model that it is compared with cannot be asked ({e})")
    return interpreters.portable_self_test(python, portable, rows, expected)


def _expected(
    version: Version, parts: Parts, features: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the golden and the proof rows, and what the model says about them.

    Raises:
        ValueError: If the model does not take the features.
    """
    rows = proof_rows(parts, features)
    given = version.model.predict_proba(pd.DataFrame(rows, columns=list(version.feature_cols)))
    return (
        np.vstack([version.golden_rows, rows]),
        np.vstack([version.golden_probabilities, given]),
    )
