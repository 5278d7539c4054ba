"""Make the portable form of a saved model, and load both forms in fresh interpreters."""

import contextlib
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


class FreshInterpreter:
    """A fresh interpreter without our packages, which loads a joblib file.

    It is started before there is a file: importing scikit-learn takes longer than all it does
    then, and can be done while the model is fitted. On exit it is ended if it still runs.
    """

    def __init__(self, python: str) -> None:
        """Name the interpreter, best the bot's own."""
        self._command = (python, "-I", str(_SELF_TEST))
        self._process: subprocess.Popen[str] | None = None
        self._error = ""

    def __enter__(self) -> "FreshInterpreter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    def start(self) -> None:
        """Start it, unless it was: it imports what a model needs, and waits."""
        if self._process is not None or self._error:
            return
        pipe = subprocess.PIPE
        try:
            # The interpreter comes from the operator's configuration.
            self._process = subprocess.Popen(  # noqa: S603
                self._command, stdin=pipe, stdout=pipe, stderr=pipe, text=True
            )
        except OSError as e:
            self._error = f"{type(e).__name__}: {e}"

    def ask(self, model_path: Path, golden_path: Path) -> None:
        """Let it load a joblib file, which must reproduce its golden rows, and do not wait."""
        if self._process is not None and self._process.stdin is not None:
            # One that has ended already says why in `answer`.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps([str(model_path), str(golden_path)]) + "\n")
                self._process.stdin.flush()

    def answer(self) -> LoadProof:
        """Wait for what it found; what went wrong in `start` or `ask` is told here."""
        if self._process is None:
            return LoadProof(error=self._error or "it was not started")
        try:
            out, err = self._process.communicate(timeout=_TIMEOUT_S)
            if self._process.returncode == 0:
                return LoadProof(**json.loads(out))
            return LoadProof(error=_last_words(err, self._process.returncode))
        except (OSError, ValueError, TypeError, subprocess.TimeoutExpired) as e:
            return LoadProof(error=f"{type(e).__name__}: {e}")


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
    return "" if done.returncode == 0 else _last_words(done.stderr, done.returncode)


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
        return LoadProof(error=_last_words(done.stderr, done.returncode))
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


def _last_words(stderr: str, code: int) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else f"exit {code}"
