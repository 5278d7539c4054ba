"""Make the portable form of a saved model, and load both forms in fresh interpreters."""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.forms.load_proof import LoadProof

_TIMEOUT_S: Final = 120.0
_HERE: Final = Path(__file__).parent
_SELF_TEST: Final = _HERE / "joblib_selftest.py"
_ONNX_SELF_TEST: Final = _HERE / "onnx_selftest.py"


def self_test(python: str, model_path: Path, golden_path: Path) -> LoadProof:
    """Load a joblib file in a fresh interpreter without our packages.

    Args:
        python: The interpreter, best the bot's own.
        model_path: The joblib file.
        golden_path: The golden rows that it must reproduce.
    """
    return _tested([python, "-I", str(_SELF_TEST), str(model_path), str(golden_path)])


def convert(python: str, parts_path: Path, model_path: Path, *names: str) -> str:
    """Write the portable form of a model; return why it cannot be made, "" if it was.

    Args:
        python: An interpreter with onnx, the daemon's own.
        parts_path: What `Parts.dumped` made.
        model_path: The ONNX file to write.
        names: The version and its features, written into the file.
    """
    module = "retrain.forms.to_onnx"
    path = os.pathsep.join(filter(None, [str(_HERE.parents[1]), os.environ.get("PYTHONPATH")]))
    command = [python, "-s", "-m", module, str(parts_path), str(model_path), *names]
    try:
        done = _run(command, {**os.environ, "PYTHONPATH": path})
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"{type(e).__name__}: {e}"
    return "" if done.returncode == 0 else _last_words(done)


def portable_self_test(
    python: str, model_path: Path, rows: NDArray[np.float64], expected: NDArray[np.float64]
) -> LoadProof:
    """Load a portable model in a fresh interpreter with numpy and onnxruntime alone.

    Args:
        python: An interpreter with onnxruntime, the daemon's own.
        model_path: The ONNX file.
        rows: Raw features, shape (n, 17).
        expected: What the model says about them, shape (n, 3).
    """
    with tempfile.TemporaryDirectory(dir=model_path.parent) as folder:
        proof = Path(folder) / "proof.npz"
        np.savez(proof, rows=rows, probabilities=expected)
        return _tested([python, "-I", str(_ONNX_SELF_TEST), str(model_path), str(proof)])


def _tested(command: Sequence[str]) -> LoadProof:
    try:
        done = _run(command)
        if done.returncode == 0:
            return LoadProof(**json.loads(done.stdout))
        return LoadProof(error=_last_words(done))
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as e:
        return LoadProof(error=f"{type(e).__name__}: {e}")


def _run(
    command: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[Any]:
    # The interpreter comes from the operator's configuration.
    return subprocess.run(  # noqa: S603
        command,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        env=environment,
    )


def _last_words(done: subprocess.CompletedProcess[Any]) -> str:
    lines = str(done.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit {done.returncode}"
