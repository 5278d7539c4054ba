"""Run a retrain in a child process, with limits and with progress while it runs.

A retrain uses every core for seconds to minutes and may run out of memory. It runs in its own
process at a lower priority. If it is killed, hangs or prints garbage, the live model still
answers.
"""

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import retrain
from daemon.core import subprocesses
from daemon.core.errors import RetrainFailedError
from daemon.core.subprocesses import Limits, OnLine, Surroundings
from daemon.training.last_lines import ChallengeOutcome, read_challenge, read_verdict
from retrain.forms import job_bars

__all__ = ["ChallengeOutcome", "JobOutcome", "Jobs", "Limits"]

Frame = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """A candidate that a child made: its folder, its verdict and every gate.

    `notes` say what is smaller or less certain than with more bars.
    """

    folder: Path
    manifest: Path
    model_id: str
    passed: bool
    refused_by: tuple[str, ...]
    gates: tuple[dict[str, Any], ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def refusals(self) -> tuple[str, ...]:
        """The sentence of each gate that refused the candidate."""
        return tuple(str(g.get("verdict", g["name"])) for g in self.gates if not g["passed"])

    @property
    def earns(self) -> str:
        """What a signal earns after costs on the judged bars, and whether that is shown."""
        return next((str(g["verdict"]) for g in self.gates if g["name"] == "earns"), "not judged")


class Jobs:
    """Runs jobs in folders under `root`, at most one child process at a time in each.

    Args:
        root: Holds the folders; it lies in the data folder.
        limits: How a child may run.
        hidden: Files and folders that a child may not read: keys and passwords. None confines it
            in nothing; else it may write in the data folder only what it is there for.
    """

    def __init__(self, root: Path, limits: Limits, hidden: Sequence[Path] | None = None) -> None:
        self._root, self._limits, self._hidden = root, limits, hidden

    def limited(self, limits: Limits, parallel: int) -> "Jobs":
        """Return an object for the same folders with other limits.

        Args:
            limits: How a child may run.
            parallel: How many run at once; of jobs that all run here, the queue sees to that.
        """
        del parallel
        return Jobs(self._root, limits, self._hidden)

    @property
    def remote_places(self) -> int:
        """How many jobs other hosts run at once now; 0 if jobs run on this one."""
        return 0

    def listen(self, changed: Callable[[], None]) -> None:
        """Let `changed` be called when `remote_places` may have changed."""

    async def serve(self) -> None:
        """Keep up what the jobs need, until cancelled; jobs of this host alone need nothing."""

    def clear(self) -> None:
        """Remove the folders that an earlier, killed daemon left."""
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.rmtree(self._places, ignore_errors=True)

    async def retrain(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame, on_line: OnLine
    ) -> JobOutcome:
        """Train and judge one candidate.

        Args:
            job_id: Names the folder.
            spec: The content of `job.json`, as `python -m retrain` documents it.
            frame: The bars, as `retrain.features.compute` takes them: columns of shape (n,).
            on_line: Called with each JSON line of the child while it runs.

        Raises:
            RetrainFailedError: If the child ended without a candidate; says why.
        """
        folder = self._root / job_id
        await asyncio.to_thread(_prepare, folder, spec, frame)
        gates: list[dict[str, Any]] = []
        notes: list[str] = []
        started = asyncio.get_running_loop().time()

        def keep_gate(line: dict[str, Any]) -> None:
            if line.get("event") == "gate":
                gates.append({k: v for k, v in line.items() if k != "event"})
            if line.get("event") == "note":
                notes.append(str(line.get("text", "")))
            on_line(line)

        verdict = read_verdict(await self._run("retrain", folder, keep_gate))
        return JobOutcome(
            folder=folder / "candidate",
            manifest=folder / verdict.manifest,
            model_id=verdict.model_id,
            passed=verdict.passed,
            refused_by=verdict.refused_by,
            gates=tuple(gates),
            notes=tuple(notes),
            seconds=asyncio.get_running_loop().time() - started,
        )

    async def challenge(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame
    ) -> ChallengeOutcome:
        """Ask a quick challenger whether a retrain would help.

        Args:
            job_id: Names the folder.
            spec: The content of `job.json`, as `python -m retrain` documents it.
            frame: The bars, as `retrain.features.compute` takes them: columns of shape (n,).

        Raises:
            RetrainFailedError: If the child ended without an answer; says why.
        """
        folder = self._root / job_id
        await asyncio.to_thread(_prepare, folder, spec, frame)
        try:
            line = await self._run("retrain", folder, lambda _: None, "--challenge")
        finally:
            await asyncio.to_thread(self.discard, job_id)
        return read_challenge(line)

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        """Calibrate the drift monitor for the candidate of `job_id`; return JSON text.

        It always runs in the daemon's own interpreter, because it needs river.

        Raises:
            RetrainFailedError: If the child ended without a calibration; says why.
        """
        folder = self._root / job_id
        rate = str(false_alarms_per_month)
        try:
            await self._run("daemon.training.drift_calibration", folder, lambda _: None, rate)
        except RetrainFailedError as e:
            raise type(e)(f"drift calibration: {e}") from e
        return await asyncio.to_thread((folder / "calibration.json").read_text)

    async def ask_ours(
        self, module: str, job_id: str, arguments: Sequence[str], result: str
    ) -> str:
        """Run `python -m module FOLDER ...` in the daemon's own interpreter; return a file's text.

        Args:
            module: A module of the daemon that prints as a retrain does.
            job_id: Names a folder of its own, which is removed afterwards.
            arguments: What follows the folder.
            result: The name of the file in the folder.

        Raises:
            RetrainFailedError: If it ended without the file; says why.
        """
        folder = self._root / job_id
        await asyncio.to_thread(_prepare, folder, {}, {})
        try:
            await self._run(module, folder, lambda _: None, *arguments)
            return await asyncio.to_thread((folder / result).read_text)
        finally:
            await asyncio.to_thread(self.discard, job_id)

    def surroundings(self, *writable: Path) -> Surroundings:
        """Return where a child of `retrain.python` runs that stays: it can import `retrain` only.

        Args:
            writable: Folders in the data folder that it may write.

        Raises:
            RetrainFailedError: If its own folders cannot be written.
        """
        return self._surroundings(self._new_place(), writable, ours=False)

    @contextlib.asynccontextmanager
    async def own_surroundings(self) -> AsyncIterator[tuple[Surroundings, Path]]:
        """Yield where a child of the daemon's own interpreter runs that may write in `root`.

        With it comes a folder that holds `retrain` alone.

        Raises:
            RetrainFailedError: If its folders cannot be written.
        """
        async with self._placed() as place:
            yield self._surroundings(place, (self._root,), ours=True), place / "path"

    def discard(self, job_id: str) -> None:
        """Remove the folder of a finished job."""
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    @property
    def _places(self) -> Path:
        """Holds a folder for each child, in which it can import and may not write."""
        return self._root.with_name(f"{self._root.name}.children")

    @property
    def _plots(self) -> Path:
        return self._root / "matplotlib"

    def _new_place(self) -> Path:
        """Make the folders of a child: `path`, which holds `retrain` alone, and `tmp`.

        Our own folder also holds our libraries, and another interpreter must not import those.
        It would save a model that its own libraries cannot load. The folders are new, so what one
        child writes into them no other one imports.

        Raises:
            RetrainFailedError: If they cannot be written.
        """
        try:
            self._places.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._plots.mkdir(parents=True, exist_ok=True)
            place = Path(tempfile.mkdtemp(dir=self._places))
            for name in ("path", "tmp"):
                (place / name).mkdir(mode=0o700)
            (place / "path" / "retrain").symlink_to(Path(retrain.__file__).parent)
        except OSError as e:
            raise _unwritable(self._places, e) from e
        return place

    async def _run(
        self, module: str, folder: Path, on_line: OnLine, *arguments: str
    ) -> dict[str, Any]:
        """Run `python -m module folder ...` and return its line `finished`."""
        ours = module.startswith("daemon.")
        limits = replace(self._limits, python="") if ours else self._limits
        async with self._placed() as place:
            where = self._surroundings(place, (folder,), ours=ours)
            command = ("-m", module, str(folder), *arguments)
            return await subprocesses.run(command, limits, where, on_line)

    @contextlib.asynccontextmanager
    async def _placed(self) -> AsyncIterator[Path]:
        place = await asyncio.to_thread(self._new_place)
        try:
            yield place
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def _surroundings(self, place: Path, writable: tuple[Path, ...], *, ours: bool) -> Surroundings:
        path = Path(__file__).parents[2] if ours else place / "path"
        inherited = os.environ.get("PYTHONPATH")
        environment = {
            # matplotlib stores its list of fonts here, because a service has no home folder.
            "MPLCONFIGDIR": str(self._plots),
            # Each thread of OpenBLAS allocates memory at once, and retries for ever if there is
            # none. Threads of OpenMP wait for each other while another process uses a core, which
            # doubles the time of a retrain. The fits have threads of their own.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            **{key: value for key, value in os.environ.items() if not _is_setting(key)},
            "PYTHONPATH": f"{path}{os.pathsep}{inherited}" if inherited else str(path),
            "PYTHONSAFEPATH": "1",  # of Python 3.11 on; 3.10 imports from the working folder
            "TMPDIR": str(place / "tmp"),
        }
        environment.pop("CREDENTIALS_DIRECTORY", None)
        if self._hidden is None:
            return Surroundings(environment, path)
        confined = {
            "hidden": [str(each) for each in self._hidden],
            "kept": [str(self._root.parent)],
            "writable": [str(each) for each in (*writable, place / "tmp", self._plots)],
        }
        return Surroundings(environment, path, confined)


def _is_setting(key: str) -> bool:
    """Whether a variable overrides the configuration: its value may be a secret address."""
    return key.startswith("HYPERDRIFT_") and "__" in key


def _prepare(folder: Path, spec: Mapping[str, Any], frame: Frame) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700, parents=True)
        job_bars.write(folder, frame)
        (folder / "job.json").write_text(json.dumps(dict(spec)))
    except OSError as e:
        shutil.rmtree(folder, ignore_errors=True)
        raise _unwritable(folder, e) from e


def _unwritable(folder: Path, error: OSError) -> RetrainFailedError:
    remedy = "check disk space and rights"
    return RetrainFailedError(f"{folder} cannot be written ({error.strerror}); {remedy}")
