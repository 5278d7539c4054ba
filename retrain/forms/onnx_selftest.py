"""Load a portable model in an interpreter without scikit-learn, and report its predictions.

Run as a script, `python -I onnx_selftest.py MODEL PROOF`, under an interpreter that has numpy and
onnxruntime: it may import nothing else, and must not import this package.
Prints one JSON object; a failure ends with a traceback whose last line is the reason.
"""

import json
import os
import platform
import sys
import time
from typing import Any

import numpy as np

# It is read once, on import: else the library reports what it runs to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

_REPEATS = 100
_FOREIGN = {"daemon", "hyperdrift", "joblib", "monitor", "pandas", "retrain", "scipy", "sklearn"}


def main(model_path: str, proof_path: str) -> dict[str, Any]:
    """Return the largest difference from the given probabilities, and ms of one prediction.

    Args:
        model_path: The ONNX file.
        proof_path: An npz file with `rows` (n, 17) and the `probabilities` (n, 3) to reproduce.

    Raises:
        RuntimeError: If loading or predicting imports more than numpy and onnxruntime.
        ValueError: If an input or an output is not as the contract has it.
    """
    with np.load(proof_path, allow_pickle=False) as proof:
        rows, expected = proof["rows"], proof["probabilities"]
    session = onnxruntime.InferenceSession(
        model_path, _one_thread(), providers=["CPUExecutionProvider"]
    )
    _check_shapes(session, rows.shape[1])
    given = session.run(["probabilities"], {"features": rows})[0]
    if given.dtype != np.float64:
        msg = f"its probabilities are {given.dtype}, must be float64"
        raise ValueError(msg)
    one = rows[:1]
    times = []
    # Thread time and the best of many exclude other work of the machine.
    for _ in range(_REPEATS):
        start = time.thread_time()
        session.run(["probabilities"], {"features": one})
        times.append(1000 * (time.thread_time() - start))
    if foreign := _FOREIGN & {name.partition(".")[0] for name in sys.modules}:
        msg = f"it needs {', '.join(sorted(foreign))}"
        raise RuntimeError(msg)
    return {
        "error": "",
        "difference": float(np.abs(given - expected).max()),
        "rows": len(rows),
        "predict_ms": min(times),
        "python": platform.python_version(),
        "library": onnxruntime.__version__,
    }


def _one_thread() -> Any:
    """Return the options of a bot: one row is no work for a second thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _check_shapes(session: Any, wanted: int) -> None:
    inputs = [(one.name, one.type, one.shape[1:]) for one in session.get_inputs()]
    outputs = [(one.name, one.type, one.shape[1:]) for one in session.get_outputs()]
    if inputs != [("features", "tensor(double)", [wanted])]:
        msg = f"its inputs are {inputs}, must be features (N, {wanted}) in doubles"
        raise ValueError(msg)
    if outputs != [("probabilities", "tensor(double)", [3])]:
        msg = f"its outputs are {outputs}, must be probabilities (N, 3) in doubles"
        raise ValueError(msg)


if __name__ == "__main__":
    json.dump(main(sys.argv[1], sys.argv[2]), sys.stdout)
