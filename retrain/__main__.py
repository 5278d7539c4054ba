"""The child process: read a job from a folder, report progress, leave a candidate.

Training in the daemon's own process would delay bars and decisions. A child can have a lower
priority, limits and another interpreter, and can be killed. It reports in JSON lines on stdout,
one event each, and nothing else goes there.
"""

import contextlib
import json
import os
import pickle
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

from retrain.libraries import unusable

if reason := unusable():
    # Check before the imports below, whose errors would not name the cause.
    print(json.dumps({"event": "failed", "error": reason, "kind": "Unusable"}), flush=True)
    sys.exit(2)

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from retrain import artifact, challenger, computers, computing, pipeline
from retrain.computers import BUILTIN
from retrain.deciding.costs import Costs
from retrain.deciding.expectation import MOST_SIGNALS
from retrain.errors import BadJob, RetrainError
from retrain.forms import job_bars
from retrain.job import Job
from retrain.judging.gate_limits import GateLimits

CANDIDATE: Final = "candidate"
_BLAS_BYTES: Final = 96 << 20  # more than both copies take, with one thread each
_COLUMNS: Final = ("t", "open", "high", "low", "close", "volume", "funding", "s_top", "s_bot")
_REQUIRED: Final = ("slot", "interval", "horizon_bars", "threshold", "at_ms")
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "slot": (str,),
    "interval": (str,),
    "horizon_bars": (int,),
    "threshold": (int, float, str),
    "at_ms": (int,),
    "previous_threshold": (int, float, type(None)),
    "seed": (int,),
    "min_signal_rate": (int, float),
    "reason": (str,),
    "git_commit": (str,),
    "python": (str,),
    "onnx_python": (str,),
    "costs": (dict,),
    "jobs": (int,),
    "gates": (dict,),
    "champion": (str, type(None)),
    "computer": (str,),
    "computer_path": (str,),
    "fits": (str, type(None)),
    "backtest": (bool,),
}


class FitFolder:
    """Keeps fitted base models in a folder, one file each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def get(self, key: str) -> Any:
        """Return the model kept under a key; None if there is none, or only a part."""
        with contextlib.suppress(OSError, EOFError, ValueError, pickle.UnpicklingError):
            return joblib.load(self._folder / key)
        return None

    def put(self, key: str, model: Any) -> None:
        """Keep a model; the file appears complete or not at all."""
        aside = self._folder / f"{key}.{os.getpid()}"
        joblib.dump(model, aside)
        aside.replace(self._folder / key)


def main(folder: Path, *, challenge: bool = False) -> int:
    """Run the job in `folder`; return the exit code: 0 done, 2 bad job, 1 unexpected error.

    Args:
        folder: Holds the job, and the candidate when it is done.
        challenge: Only ask whether a retrain would help; leave no candidate.
    """
    try:
        _warm_up()
        job = read_job(folder)
        if challenge:
            _tell("finished", **challenger.ask(job).as_dict())
            return 0
        candidate = pipeline.run(job, folder / CANDIDATE, _tell_progress, time.perf_counter)
    except RetrainError as e:
        _tell("failed", error=str(e), kind=type(e).__name__)
        return 2
    except Exception as e:  # noqa: BLE001 -- the parent must hear of anything at all
        traceback.print_exc()
        _tell("failed", error=f"{type(e).__name__}: {e}", kind=type(e).__name__)
        return 1
    settings = candidate.meta["settings"]
    for text in (settings["labels"], *settings["scaled_down"]):
        _tell("note", text=text)
    for gate in candidate.gates:
        _tell("gate", **gate.as_dict())
    model_id = candidate.manifest["model_id"]
    _tell(
        "finished",
        model_id=model_id,
        passed=candidate.passed,
        refused_by=list(candidate.refused_by),
        manifest=f"{CANDIDATE}/{artifact.manifest_name(model_id)}",
    )
    return 0


def serve() -> int:
    """Run job after job until stdin ends: each line is an object with `folder` and `challenge`.

    So the interpreter starts and imports once. The last line about a job is `finished` or `failed`.
    """
    for line in sys.stdin:
        asked = json.loads(line)
        main(Path(asked["folder"]), challenge=asked["challenge"])
    return 0


def _warm_up() -> None:
    """Make both copies of OpenBLAS, numpy's and scipy's, allocate their memory now.

    They take it at the first product, and try again for ever if there is none.

    Raises:
        MemoryError: If there is too little.
    """
    np.empty(_BLAS_BYTES, np.uint8)
    square = np.ones((256, 256))
    blas.dgemm(1.0, square, square @ square)


def read_job(folder: Path) -> Job:
    """Read `job.json` and the bars.

    Raises:
        BadJob: If either is missing, damaged, or has a key that is unknown or of a wrong kind.
        ArtifactError: If the champion cannot be loaded.
        ComputerFailed: If a bot's own feature class fails.
    """
    try:
        settings = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise BadJob(f"job.json cannot be read ({e})") from e
    _check(settings)
    gates, champion = settings.pop("gates", {}), settings.pop("champion", None)
    costs, fits = settings.pop("costs", {}), settings.pop("fits", None)
    name, path = settings.pop("computer", BUILTIN), settings.pop("computer_path", "")
    frame = _read_bars(folder)
    return Job(
        **settings,
        frame=frame,
        computed=None if name == BUILTIN else _compute(name, path, frame, folder),
        costs=Costs.from_mapping(costs),
        limits=GateLimits.from_mapping(gates),
        champion=artifact.read_champion(folder / champion) if champion else None,
        fits=FitFolder(Path(fits)) if fits else None,
    )


def _compute(
    name: str, path: str, frame: dict[str, NDArray[Any]], folder: Path
) -> computers.Computed:
    """Run a bot's class; save its features in `features.npy` too, for the calibration."""
    _tell_progress("features", 0.0)
    make, source = computing.load(name, path)
    computed = computers.run(name, source, make, frame)
    np.save(folder / "features.npy", computed.rows)
    return computed


def _check(settings: Any) -> None:
    if not isinstance(settings, dict):
        raise BadJob("job.json is not an object")
    if missing := [name for name in _REQUIRED if name not in settings]:
        raise BadJob(f"job.json lacks {', '.join(missing)}")
    for name, value in settings.items():
        if name not in _KINDS:
            raise BadJob(f"job.json has an unknown key {name!r}")
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and name != "backtest"):
            raise BadJob(f"{name} in job.json cannot be {value!r}")
    if settings["horizon_bars"] < 1 or settings.get("jobs", 1) < 1:
        raise BadJob("horizon_bars and jobs must be at least 1")
    if not 0 < settings.get("min_signal_rate", MOST_SIGNALS) <= MOST_SIGNALS:
        raise BadJob(f"min_signal_rate must be above 0 and at most {MOST_SIGNALS:g}")


def _read_bars(folder: Path) -> dict[str, NDArray[Any]]:
    try:
        bars = job_bars.read(folder)
    except (OSError, ValueError) as e:
        raise BadJob(f"the bars cannot be read ({e})") from e
    if missing := [name for name in _COLUMNS if name not in bars]:
        raise BadJob(f"the bars lack the array {', '.join(missing)}")
    return {name: bars[name] for name in _COLUMNS}


def _tell_progress(step: str, percent: float) -> None:
    _tell("progress", step=step, percent=percent)


def _tell(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        sys.exit(serve())
    sys.exit(main(Path(sys.argv[1]), challenge="--challenge" in sys.argv[2:]))
