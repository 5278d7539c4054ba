"""Load a saved model in an interpreter without this package, and report its predictions.

Run as a script, `python -I joblib_selftest.py`, often under the bot's own Python: it may import
joblib and what scikit-learn brings, and must not import this package. It imports what a model
needs, then reads a line from stdin, a JSON list: the path of the model and of its golden rows.
Prints one JSON object; a failure ends with a traceback whose last line is the reason.
"""

import contextlib
import importlib
import json
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

_REPEATS = 30
_NEEDED = ("sklearn.ensemble", "sklearn.calibration", "sklearn.multiclass", "pandas")


def main(model_path: str, golden_path: str) -> dict[str, Any]:
    """Return the largest difference from the golden rows and the time of one prediction in ms.

    Raises:
        RuntimeError: If the file imports one of our packages.
        ValueError: If its classes or its number of inputs are wrong.
    """
    golden = json.loads(Path(golden_path).read_text(encoding="utf-8"))
    model = joblib.load(model_path)
    if ours := {"daemon", "retrain", "monitor"} & set(sys.modules):
        msg = f"the file needs our package {', '.join(sorted(ours))}"
        raise RuntimeError(msg)
    if list(model.classes_) != [0, 1, 2]:
        msg = f"its classes are {list(model.classes_)}, must be [0, 1, 2]"
        raise ValueError(msg)
    wanted = len(golden["rows"][0])
    if (inputs := getattr(model, "n_features_in_", None)) != wanted:
        msg = f"it takes {inputs} inputs, the features are {wanted}: save the whole stack"
        raise ValueError(msg)
    rows = _named(model, golden["rows"])
    given = np.asarray(model.predict_proba(rows))
    difference = float(np.abs(given - np.asarray(golden["probabilities"])).max())
    one = _named(model, golden["rows"][:1])
    times = []
    # One thread, as in the daemon and the slot. Thread time and the best of many exclude other
    # work of the machine.
    with threadpool_limits(1):
        for _ in range(_REPEATS):
            start = time.thread_time()
            model.predict_proba(one)
            times.append(1000 * (time.thread_time() - start))
    fits = difference <= 1e-9  # noqa: PLR2004 -- the contract's tolerance; nothing to import it from
    return {
        "error": "" if fits else f"the golden rows come out {difference:.3g} off",
        "difference": difference,
        "rows": len(given),
        "predict_ms": min(times),
        "python": platform.python_version(),
        "library": sys.modules["sklearn"].__version__,
    }


def _named(model: Any, rows: list[list[float]]) -> Any:
    """Return the rows as a bot gives them, with named columns; warnings become errors."""
    try:
        import pandas as pd  # noqa: PLC0415 -- optional in the bot's interpreter
    except ImportError:
        return rows
    warnings.simplefilter("error", UserWarning)
    return pd.DataFrame(rows, columns=list(model.feature_names_in_))


if __name__ == "__main__":
    for name in _NEEDED:
        # What is missing fails when the model is loaded, if the model needs it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    json.dump(main(*json.loads(sys.stdin.readline())), sys.stdout)
