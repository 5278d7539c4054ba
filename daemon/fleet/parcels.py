"""Pack the folder of a job for a worker, and unpack what comes back.

A worker has none of our files: it gets copies of the bars and of the live model, and names its
own interpreter. The bars travel as the bytes of an Arrow stream.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from retrain.forms import job_bars

_CHAMPION: Final = "champion"
# Paths of this host. `fits` only saves time, and changes no result.
_OURS: Final = ("python", "onnx_python", "computer_path", "fits")
# A candidate has some ten files of a few MiB. What is printed must fit into one line of the
# daemon's pipe, 1 MiB, where JSON writes a character in up to six bytes.
_MOST_FILES: Final = 100
_MOST_BYTES: Final = 256 << 20
_MOST_TEXT: Final = 128 << 10
_CODES: Final = range(-255, 256)

Names = tuple[str, ...]


def pack(folder: Path) -> dict[str, bytes]:
    """Return the files of a job, by the name that they have on a worker.

    Raises:
        OSError: If one cannot be read.
        ValueError: If `job.json` or the champion's manifest is not JSON, or the bars are damaged.
    """
    spec = json.loads((folder / "job.json").read_text())
    spec = {key: value for key, value in spec.items() if key not in _OURS}
    files = {job_bars.ARROW: job_bars.to_arrow(job_bars.read(folder))}
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


def fault(answer: Any, wanted: Names) -> str:
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
    if answer["code"] not in _CODES:
        return "its answer has no usable code"
    if not all(isinstance(line, str) for line in answer["lines"]):
        return "its lines are no text"
    if sum(map(len, (*answer["lines"], answer["stderr"]))) > _MOST_TEXT:
        return "its child printed too much"
    return _fault_of_files(answer["files"], answer["sha256"], wanted)


def _fault_of_files(files: Mapping[Any, Any], digests: Mapping[Any, Any], wanted: Names) -> str:
    if not all(isinstance(n, str) and isinstance(c, bytes) for n, c in files.items()):
        return "its files are no files"
    if len(files) > _MOST_FILES or sum(map(len, files.values())) > _MOST_BYTES:
        return "its files are too many, or too large"
    for name, content in files.items():
        if not _is_wanted(name, wanted):
            return "it sent a file that nobody asked for"
        if hashlib.sha256(content).hexdigest() != digests.get(name):
            return f"the digest of {name} does not fit"
    return ""


def _is_wanted(name: str, wanted: Names) -> bool:
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
