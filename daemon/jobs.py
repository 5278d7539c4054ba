"""Run a retrain in a child process: progress while it runs, limits, and no way to hurt us.

A retrain takes every core it gets for seconds to minutes and may run out of memory.
In its own process, at a lower priority, it can be killed, can hang or print garbage,
and the live model goes on answering.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

import retrain
from daemon.errors import RetrainFailedError

log = structlog.get_logger()

# A line of progress is short; a child that prints more than this without a newline is broken.
_LONGEST_LINE: Final = 1 << 20
_KEEP_STDERR: Final = 4000

Frame = Mapping[str, np.ndarray[Any, Any]]
OnLine = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A candidate that a child left: its folder, its verdict and every gate."""

    folder: Path
    manifest: Path
    model_id: str
    passed: bool
    refused_by: tuple[str, ...]
    gates: tuple[dict[str, Any], ...]
    seconds: float

    @property
    def refusals(self) -> tuple[str, ...]:
        """The sentence of each gate that the candidate did not pass."""
        return tuple(str(g.get("verdict", g["name"])) for g in self.gates if not g["passed"])


@dataclass(frozen=True, slots=True)
class Limits:
    """How a child may run: its interpreter, its niceness (0 to 19) and its time in seconds."""

    python: str = ""
    nice: int = 10
    timeout_s: float = 3600.0

    @property
    def interpreter(self) -> str:
        """The interpreter of the child process; ours by default."""
        return self.python or sys.executable


class Jobs:
    """Job folders under `root`, one child process at a time in each."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits

    def clear(self) -> None:
        """Remove what an earlier, killed daemon left behind."""
        shutil.rmtree(self._root, ignore_errors=True)

    async def retrain(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame, on_line: OnLine
    ) -> Outcome:
        """Train and judge one candidate.

        Args:
            job_id: Names the folder.
            spec: The content of `job.json`, as `python -m retrain` documents it.
            frame: The bars, as `retrain.features.compute` takes them.
            on_line: Called with each JSON line of the child while it runs.

        Raises:
            RetrainFailedError: The child ended without a candidate, and why.
        """
        folder = self._root / job_id
        await asyncio.to_thread(_prepare, folder, spec, frame)
        gates: list[dict[str, Any]] = []
        started = asyncio.get_running_loop().time()

        def keep(line: dict[str, Any]) -> None:
            if line.get("event") == "gate":
                gates.append({k: v for k, v in line.items() if k != "event"})
            on_line(line)

        last = await self._run("retrain", folder, keep)
        if last.get("event") != "finished":
            raise RetrainFailedError(str(last.get("error") or "it ended without a verdict"))
        return Outcome(
            folder=folder / "candidate",
            manifest=folder / str(last["manifest"]),
            model_id=str(last["model_id"]),
            passed=bool(last["passed"]),
            refused_by=tuple(map(str, last["refused_by"])),
            gates=tuple(gates),
            seconds=asyncio.get_running_loop().time() - started,
        )

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        """Calibrate the drift monitor for the candidate of `job_id`; return it as JSON text.

        Runs under our own interpreter whatever trained the model: it needs river.

        Raises:
            RetrainFailedError: The child ended without a calibration, and why.
        """
        folder = self._root / job_id
        last = await self._run(
            "daemon.calibration", folder, lambda _: None, str(false_alarms_per_month)
        )
        if last.get("event") != "finished":
            raise RetrainFailedError(f"drift calibration: {last.get('error') or 'no result'}")
        return await asyncio.to_thread((folder / "calibration.json").read_text)

    def discard(self, job_id: str) -> None:
        """Remove the folder of a job that is over."""
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    def _lone_package(self) -> Path:
        """Return a folder that holds `retrain` and nothing else.

        The folder that we are installed in holds our libraries too, which another
        interpreter must not import: it would save what its own cannot load.
        """
        folder = self._root / "path"
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (folder / "retrain").symlink_to(Path(retrain.__file__).parent)
        return folder

    async def _run(
        self, module: str, folder: Path, on_line: OnLine, *arguments: str
    ) -> dict[str, Any]:
        """Run `python -m module folder ...` and return its last JSON line of an end."""
        ours = module.startswith("daemon.")
        python = sys.executable if ours else self._limits.interpreter
        process = await asyncio.create_subprocess_exec(
            *_polite(self._limits.nice),
            *(python, "-m", module, str(folder), *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
            env=_environment(Path(__file__).parents[1] if ours else self._lone_package()),
            start_new_session=True,  # so that its own workers can be killed with it
        )
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(self._limits.timeout_s), asyncio.TaskGroup() as tasks:
                errors = tasks.create_task(_tail(process.stderr), name=f"{module}-stderr")
                async for line in _json_lines(process.stdout):
                    if line.get("event") in {"finished", "failed"}:
                        last = line
                    on_line(line)
                code = await process.wait()
        except TimeoutError:
            limit = f"{self._limits.timeout_s:.0f} s (retrain.timeout_s)"
            raise RetrainFailedError(f"it was stopped after {limit}") from None
        finally:
            await _end(process)
        return last if code in {0, 2} and last else _died(code, errors.result(), last)


def _prepare(folder: Path, spec: Mapping[str, Any], frame: Frame) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arrays: dict[str, Any] = dict(frame)
    np.savez(folder / "bars.npz", **arrays)
    (folder / "job.json").write_text(json.dumps(dict(spec)))


def _polite(nice: int) -> tuple[str, ...]:
    """Return a command prefix: die with us where util-linux can arrange it, and run at `nice`."""
    prefix: tuple[str, ...] = ()
    if shutil.which("setpriv"):
        prefix += ("setpriv", "--pdeathsig", "KILL", "--")
    if nice and shutil.which("nice"):
        prefix += ("nice", "-n", str(nice))
    return prefix


def _environment(path: Path) -> dict[str, str]:
    """Let the child find what it is to run, before anything else that is named like it."""
    inherited = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{path}{os.pathsep}{inherited}" if inherited else str(path),
    }


async def _json_lines(stream: asyncio.StreamReader | None) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON objects on a stream; anything else on it is passed over, once loudly."""
    garbage = 0
    while stream is not None:
        try:
            raw = await stream.readline()
        except ValueError:  # longer than the limit; the rest of it is garbage too
            raw = b"?"
        if not raw:
            return
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if isinstance(line, dict):
            yield line
            continue
        garbage += 1
        if garbage == 1:
            log.warning("retrain.garbage", text=raw[:200].decode(errors="replace"))


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """Read a stream to its end, keeping the last part."""
    kept = b""
    while stream is not None and (chunk := await stream.read(65536)):
        kept = (kept + chunk)[-_KEEP_STDERR:]
    return kept.decode(errors="replace")


def _died(code: int, stderr: str, last: dict[str, Any]) -> dict[str, Any]:
    if last.get("event") == "failed":
        return last
    if code < 0:
        name = signal.Signals(-code).name
        memory = "; the kernel does that when memory runs out" if name == "SIGKILL" else ""
        return {"event": "failed", "error": f"the retrain process was killed by {name}{memory}"}
    why = stderr.strip().rpartition("\n")[2] or "without a word"
    return {"event": "failed", "error": f"the retrain process ended with {code}: {why}"}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that the child and its workers are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
