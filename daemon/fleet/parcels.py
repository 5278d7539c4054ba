"""Pack the folder of a job for a worker, and unpack what comes back.

A worker has none of our files: it gets copies of the bars and of the live model, and names its
own interpreter. The bars travel as the bytes of `bars.npz`: to read them takes numpy alone, which
every worker has, while Arrow would be one library more.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

_CHAMPION: Final = "champion"
# Paths of this host. `fits` only saves time, and changes no result.
_OURS: Final = ("python", "onnx_python", "computer_path", "fits")


def pack(folder: Path) -> dict[str, bytes]:
    """Return the files of a job, by the name that they have on a worker.

    Raises:
        OSError: If one cannot be read.
        ValueError: If `job.json` or the champion's manifest is not JSON.
    """
    spec = json.loads((folder / "job.json").read_text())
    spec = {key: value for key, value in spec.items() if key not in _OURS}
    files = {"bars.npz": (folder / "bars.npz").read_bytes()}
    if spec.get("champion"):
        manifest = Path(spec["champion"])
        spec["champion"] = f"{_CHAMPION}/{manifest.name}"
        files |= _champion(manifest)
    return files | {"job.json": json.dumps(spec).encode()}


def _champion(manifest: Path) -> dict[str, bytes]:
    """Return the files that a retrain reads of the live model."""
    content = manifest.read_bytes()
    said = json.loads(content)
    model = "parts" if "parts" in said else "meta_classifier"
    names = [Path(str(said[field])).name for field in (model, "training_meta")]
    files = {f"{_CHAMPION}/{name}": (manifest.parent / name).read_bytes() for name in names}
    return files | {f"{_CHAMPION}/{manifest.name}": content}


def fault(answer: Any, wanted: tuple[str, ...]) -> str:
    """Return what is wrong with the answer of a worker, "" if it has the shape that was asked for.

    Args:
        answer: What `on_worker.run_job` returned, if it is honest.
        wanted: What was asked for.
    """
    if not isinstance(answer, dict):
        return f"its answer is {type(answer).__name__}"
    kinds = {"code": int, "lines": list, "stderr": str, "files": dict, "sha256": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(answer.get(name), kind)]:
        return f"its answer has no usable {wrong[0]}"
    if not all(isinstance(line, str) for line in answer["lines"]):
        return "its lines are no text"
    for name, content in answer["files"].items():
        if not isinstance(name, str) or not isinstance(content, bytes):
            return "its files are no files"
        if not _is_wanted(name, wanted):
            return "it sent a file that nobody asked for"
        if hashlib.sha256(content).hexdigest() != answer["sha256"].get(name):
            return f"the digest of {name} does not fit"
    return ""


def _is_wanted(name: str, wanted: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    plain = ".." not in path.parts and str(path) == name and "\0" not in name
    return plain and (name in wanted or str(path.parent) in wanted)


def unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of an answer that has no fault.

    Raises:
        OSError: If one cannot be written.
    """
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)
