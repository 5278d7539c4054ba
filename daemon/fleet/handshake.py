"""Ask workers what they have, before a job is sent to one.

A worker with other libraries makes another model of the same bars, and one with another Python
cannot read what is sent. Each worker is asked once, when it joins.
"""

import json
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from daemon.fleet import on_worker
from daemon.fleet.messages import WorkerSeen

RESOURCE: Final = "retrain"
CALIBRATION: Final = "calibration"
_ANSWER_S: Final = 60.0
_OURS: Final = ("onnx", "onnxruntime", "pyarrow")  # of the daemon's interpreter, not the trainer's
# Fields of a manifest, and the libraries whose versions they have.
_NAMED: Final = {"sklearn": "scikit-learn", "numpy": "numpy"}

Facts = Mapping[str, str]


def own_facts(trainer: str, ours: str, path: str) -> Facts:
    """Return what a worker must have: as the interpreter that trains here, and ours.

    Args:
        trainer: The interpreter that trains here.
        ours: The daemon's own, which makes the portable form, calibrates and sends the bars.
        path: Folder that holds `retrain` alone, for the other one to import.

    Raises:
        ValueError: If one of them does not tell.
    """
    if trainer == ours:
        return _asked(ours, {})
    own = _asked(ours, {})
    replaced = {name: own[name] for name in (*_OURS, CALIBRATION)}
    return {**_asked(trainer, {"PYTHONPATH": path}), **replaced}


def _asked(python: str, environment: Mapping[str, str]) -> Facts:
    try:
        done = subprocess.run(  # noqa: S603 - from the operator's configuration
            (python, "-c", on_worker.FACTS),
            env={**on_worker.environment(), **environment},
            capture_output=True,
            timeout=_ANSWER_S,
            check=True,
        )
        return read_facts(done.stdout.decode())
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        raise ValueError(f"{python} does not tell its versions ({e})") from e


def read_facts(text: Any) -> Facts:
    """Read what `on_worker.facts` returned.

    Raises:
        ValueError: If it is no such answer.
    """
    found = json.loads(text) if isinstance(text, str) else None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError("its answer is none")
    return found


def differences(theirs: Facts, ours: Facts) -> str:
    """Return in words what a worker has otherwise than we, "" if nothing that changes a model."""
    differing = []
    for name, wanted in ours.items():
        found = theirs.get(name, "")
        unknown = "python" in theirs and len(theirs) == 1 and name != "python"
        if name == CALIBRATION or found == wanted or unknown:
            continue
        label = {"retrain": "the code of retrain", "schema": "feature schema"}.get(name, name)
        differing.append(f"{label} {found or 'missing'}, here {wanted or 'missing'}")
    return "; ".join(differing)


def made_otherwise(files: Mapping[str, bytes], ours: Facts) -> str:
    """Return in words which library a candidate was made with that differs, "" if none does.

    The libraries of a worker may be replaced after it was asked, and its children import the new
    ones.

    Args:
        files: What the worker made, by name; without a manifest there is nothing to compare.
        ours: What it must have.
    """
    found = (content for name, content in files.items() if "/manifest_" in name)
    try:
        said = json.loads(next(found, b"{}"))
        theirs = {_NAMED[key]: str(value) for key, value in said.items() if key in _NAMED}
    except (ValueError, AttributeError):
        return ""  # who reads the manifest says what is wrong with it
    return differences(theirs, {name: ours[name] for name in theirs if name in ours})


def places(info: Mapping[str, Any]) -> int:
    """Return how many jobs a worker takes at once, by its resource `retrain`."""
    return max(0, int((info.get("resources") or {}).get(RESOURCE, 0)))


def seen(address: str, info: Mapping[str, Any], why_not: str) -> WorkerSeen:
    """Return a worker as it is told of.

    Args:
        address: Its address.
        info: What the scheduler knows of it.
        why_not: What was found when it was asked.
    """
    name = str(info.get("name") or address)
    if not places(info):
        why_not = f"it has no resource {RESOURCE!r}: start it with --resources {RESOURCE}=1"
    return WorkerSeen(address=address, name=name, places=places(info), why_not=why_not)
