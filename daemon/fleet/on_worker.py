"""What runs on a worker: it answers what it has, and runs one job in a child process.

This module is sent to the workers by value, so it imports the standard library only; what Dask has
is imported inside functions. A worker needs `retrain` and its libraries, and nothing of the daemon.
Every answer is made of text, whole numbers and bytes: nothing of it must be unpickled.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, Final

_LOOK_S: Final = 0.2
_FACTS_S: Final = 60.0
_MOST_BYTES: Final = 256 << 20
_KEEP_STDERR: Final = 4000
_KEEP_LINES: Final = 64 << 10
_LONGEST_LINE: Final = 1 << 20
_KIB: Final = 1 << 10
# When memory runs out, the kernel ends the process with the highest score first: not the worker,
# nor a bot beside it.
_LIMIT: Final = (
    '{ echo 800 >/proc/self/oom_score_adj; [ $0 -eq 0 ] || ulimit -d $0; } 2>/dev/null; exec "$@"'
)

# Runs in the interpreter of a worker and in the one that trains here; equal answers mean that
# both make the same files of the same job.
FACTS: Final = """
import hashlib, importlib.util, json, pathlib, platform, sys
from importlib.metadata import PackageNotFoundError, version

def has(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return ""

def files(name):
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is None:
        return [pathlib.Path(spec.origin)]
    return sorted(pathlib.Path(list(spec.submodule_search_locations)[0]).rglob("*.py"))

def digest(*names):
    found, total = [files(name) for name in names], hashlib.sha256()
    if not all(found):
        return ""
    for name, paths in zip(names, found):
        top = paths[0].parent
        for path in paths:
            total.update(f"{name}/{path.relative_to(top).as_posix()}".encode())
            total.update(b"\\0" + path.read_bytes() + b"\\0")
    return total.hexdigest()[:12]

libraries = ("scikit-learn", "numpy", "scipy", "pandas", "joblib", "threadpoolctl")
facts = {"python": "{}.{}".format(*sys.version_info[:2]), "machine": platform.machine()}
facts |= {name: has(name) for name in (*libraries, "onnx", "onnxruntime")}
facts["pyarrow"] = "installed" if has("pyarrow") else ""  # any version reads the bars alike
facts["retrain"] = digest("retrain")
try:
    from retrain import features
    facts["schema"] = features.schema_hash()
except Exception:
    facts["schema"] = ""
calibration = digest("monitor", "daemon.training.drift_calibration", "hyperdrift.slot_name")
facts["calibration"] = calibration and has("river") and has("river") + "+" + calibration
print(json.dumps(facts))
"""


def environment() -> dict[str, str]:
    """Return the environment of a child: as on the host of the daemon."""
    return {
        # The order of sums depends on the number of threads of these libraries.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **os.environ,
        "PYTHONSAFEPATH": "1",
    }


async def facts() -> str:
    """Return what this worker's interpreter has, as JSON; "" if it cannot tell."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FACTS),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
        cwd=tempfile.gettempdir(),
    )
    try:
        said, _ = await asyncio.wait_for(child.communicate(), _FACTS_S)
    finally:
        if child.returncode is None:
            child.kill()
    return said.decode(errors="replace").strip()


def run_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job in a new folder and a child process; return what it printed and its files.

    Args:
        job: `key` and `topic` name it; `files` holds its files, name -> bytes; `module` and
            `arguments` say what to run; `wanted` names what to bring back: files, or folders of
            files; `nice`, `timeout_s` and `memory_mib` limit the child; `threads` is how many.
    """
    from distributed import get_worker  # noqa: PLC0415 - a worker has it, a reader may not

    worker = get_worker()

    def released() -> bool:
        """Whether nobody waits for the job any more."""
        task = worker.state.tasks.get(job["key"])
        gone = task is None or task.state not in {"executing", "long-running"}
        return gone or worker.status.name not in {"running", "paused"}

    def tell(line: str) -> None:
        with contextlib.suppress(Exception):  # progress only: the result is what counts
            worker.log_event(job["topic"], {"key": job["key"], "line": line})

    tell("")  # it has begun
    # Only this user may look into it. If the worker is killed, the next one removes what it left.
    folder = Path(tempfile.mkdtemp(prefix="hyperdrift-", dir=worker.local_directory))
    try:
        _unpack(folder, job)
        code, lines, said = _run(folder, job, released, tell)
        return {"code": code, "lines": lines, "stderr": said, **_packed(folder, job["wanted"])}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(folder: Path, job: Mapping[str, Any]) -> None:
    for name, content in job["files"].items():
        path = folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(content)
    told = folder / "job.json"
    if told.exists() and job["threads"]:
        told.write_text(json.dumps({**json.loads(told.read_text()), "jobs": job["threads"]}))


def _run(
    folder: Path,
    job: Mapping[str, Any],
    released: Callable[[], bool],
    tell: Callable[[str], None],
) -> tuple[int, list[str], str]:
    """Return the exit code, the lines of stdout and the end of stderr."""
    errors = folder / "stderr"
    with errors.open("wb") as stderr:
        child = subprocess.Popen(  # noqa: S603 - the interpreter of this worker
            _command(folder, job),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**environment(), "TMPDIR": str(folder), "MPLCONFIGDIR": str(folder / "plots")},
            cwd=folder,
            start_new_session=True,  # so that its own children can be killed with it
        )
    lines: list[str] = []
    reader = threading.Thread(target=_read, args=(child, lines, tell), daemon=True)
    reader.start()
    began, why = perf_counter(), ""
    try:
        while child.poll() is None and not why:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_LOOK_S)
            if perf_counter() - began > job["timeout_s"]:
                why = f"it was stopped after {job['timeout_s']:.0f} s (retrain.timeout_s)"
            elif released():
                why = "it was cancelled"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    reader.join(_LOOK_S * 10)
    said = errors.read_bytes()[-_KEEP_STDERR:].decode(errors="replace")
    return child.returncode, lines, why or said


def _command(folder: Path, job: Mapping[str, Any]) -> list[str]:
    prefix: list[str] = []
    if shutil.which("setpriv"):  # the child ends with the worker
        prefix += ["setpriv", "--pdeathsig", "KILL", "--"]
    if job["nice"] and shutil.which("nice"):
        prefix += ["nice", "-n", str(job["nice"])]
    prefix += ["sh", "-c", _LIMIT, str(job["memory_mib"] * _KIB)]
    return [*prefix, sys.executable, "-m", job["module"], str(folder), *job["arguments"]]


def _read(child: "subprocess.Popen[bytes]", lines: list[str], tell: Callable[[str], None]) -> None:
    """Keep each line of the child; pass on those of progress at once."""
    assert child.stdout is not None
    kept = 0
    while raw := child.stdout.readline(_LONGEST_LINE):
        line = raw.decode(errors="replace").strip()
        if '"event": "progress"' in line:
            tell(line)
        kept += len(line)
        if kept < _KEEP_LINES:
            lines.append(line)


def _packed(folder: Path, wanted: list[str]) -> dict[str, Any]:
    """Return the wanted files that are there, with the digest of each."""
    found: dict[str, bytes] = {}
    for name in wanted:
        path = folder / name
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        for each in inside:
            if each.is_file():
                found[each.relative_to(folder).as_posix()] = each.read_bytes()
    if sum(map(len, found.values())) > _MOST_BYTES:
        found = {}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    return {"files": found, "sha256": digests}
