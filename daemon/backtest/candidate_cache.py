"""Cache the candidates of backtests on disk, for all policies.

Training takes as long in a backtest as live. So a candidate is stored under a hash of its input
(bars, settings, champion), and its base models under a hash of the rows they were fitted to.
Policies that retrain at the same bar share them, and an interrupted backtest goes on where it
ended.
"""

import asyncio
import collections
import contextlib
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.core.errors import DataFolderBusy, RetrainFailedError, UnfitBars
from daemon.core.subprocesses import OnLine
from daemon.core.tasks import single_failure
from daemon.store.folder_lock import folder_lock
from daemon.training.jobs import ChallengeOutcome, JobOutcome
from daemon.training.training import calibration_name

CELL: Final = "cell.json"
"""The file that says that a cell of a backtest is finished, in a folder beside the candidates."""
CELL_PREFIX: Final = "cell-"
UNFINISHED: Final = "unfinished-"
"""Begins the names of files of backtests that were interrupted."""
KEPT_BYTES: Final = 4 << 30
"""So much of candidates is kept from one backtest to the next."""
_VERDICT: Final = "verdict.json"
_UNFIT: Final = "unfit"
_FITS: Final = "fits"

Frame = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate as it was judged; `manifest` and what belongs to it are in `folder`."""

    folder: Path
    model_id: str
    passed: bool
    refused_by: tuple[str, ...]
    detail: str
    seconds: float

    @property
    def manifest(self) -> Path:
        """Path of its manifest."""
        return self.folder / f"manifest_{self.model_id}.json"


class CandidateJobs(Protocol):
    """Runs the jobs of a backtest, here or elsewhere, as `daemon.training.jobs.Jobs` does."""

    async def retrain(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame, on_line: OnLine
    ) -> JobOutcome:
        """Train and judge one candidate; `frame` has columns of shape (n,)."""
        ...

    async def challenge(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame
    ) -> ChallengeOutcome:
        """Ask a quick challenger; `frame` has columns of shape (n,)."""
        ...

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        """Calibrate the drift monitor for the candidate of `job_id`; return JSON text."""
        ...


class Candidates:
    """Train candidates, or find those that an earlier run trained from the same input.

    Several policies may ask at once. What is trained on the same bars is trained by one after the
    other, so that the second finds what the first left.

    Args:
        root: The folder of the cache.
        jobs: Runs the child processes, in the same folder.
        false_alarms_per_month: Rate that the drift monitor is calibrated to.
        fits: Names a folder of fitted base models for other policies; None keeps none.
    """

    def __init__(
        self, root: Path, jobs: CandidateJobs, false_alarms_per_month: float, fits: str | None
    ) -> None:
        self._root, self._jobs, self._rate = root, jobs, false_alarms_per_month
        self._fits = root / _FITS / fits if fits else None
        self._locks = collections.defaultdict[str, asyncio.Lock](asyncio.Lock)
        self._calibrations, self._failed = dict[str, str](), dict[str, str]()

    async def judged(
        self, spec: Mapping[str, Any], frame: Frame, champion_id: str, on_line: OnLine
    ) -> Judged:
        """Return the candidate of a job.

        Args:
            spec: The content of `job.json`.
            frame: The bars that it may see: columns of shape (n_bars,).
            champion_id: Version of the model that it is compared with, empty for none.
            on_line: Called with each line of a child that has to run, and with one before.

        Raises:
            UnfitBars: If there is none of these bars, as a child said, now or in an earlier run.
            RetrainFailedError: If the child ended without a candidate, now or for another policy;
                another run tries again.
        """
        on_line({"event": "progress", "step": "waits for a core", "percent": 0.0})
        bars, key = await asyncio.to_thread(self._keys, spec, frame, champion_id)
        # Only candidates that share fits have to wait for each other.
        async with self._locks[bars if self._fits else key]:
            if key in self._failed:
                raise RetrainFailedError(self._failed[key])
            found = await asyncio.to_thread(self._find, key)
            if found is None:
                async with self._cleaned(key):
                    found = await self._train(bars, key, spec, frame, on_line)
        return Judged(
            folder=self._root / key / "candidate",
            model_id=found["model_id"],
            passed=found["passed"],
            refused_by=tuple(found["refused_by"]),
            detail=found["detail"],
            seconds=found["seconds"],
        )

    async def challenged(
        self, spec: Mapping[str, Any], frame: Frame, champion_id: str
    ) -> ChallengeOutcome:
        """Return the answer of a quick challenger.

        Args:
            spec: The content of `job.json`.
            frame: The bars that it may see: columns of shape (n_bars,).
            champion_id: Version of the model that is challenged.

        Raises:
            RetrainFailedError: If the child ended without an answer; another run asks again.
        """
        _, key = await asyncio.to_thread(
            self._keys, {**spec, "challenge": True}, frame, champion_id
        )
        async with self._locks[key]:
            found = await asyncio.to_thread(self._find, key)
            if found is not None:
                return msgspec.convert(found, ChallengeOutcome)
            async with self._cleaned(key):
                answer = await self._jobs.challenge(key, spec, frame)
            await asyncio.to_thread(_keep, self._root / key, msgspec.to_builtins(answer))
        return answer

    def _keys(self, spec: Mapping[str, Any], frame: Frame, champion_id: str) -> tuple[str, str]:
        """Return what names the bars and settings, and what names the candidate."""
        made_of = {k: v for k, v in spec.items() if k not in {"reason", "champion"}}
        made_of |= {"version": version("hyperdrift"), "drift": self._rate}
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
        for name in sorted(frame):
            digest.update(np.ascontiguousarray(frame[name]).tobytes())
        bars = digest.hexdigest()
        digest.update(champion_id.encode())
        return bars, f"{spec['at_ms']}-{digest.hexdigest()[:16]}"

    @contextlib.asynccontextmanager
    async def _cleaned(self, key: str) -> AsyncIterator[None]:
        """Remove what a failed job leaves, bars of megabytes; keep why, if it always fails."""
        folder = self._root / key
        try:
            yield
        except RetrainFailedError as e:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            if isinstance(e, UnfitBars):
                await asyncio.to_thread(_keep, folder, {_UNFIT: str(e)})
            else:
                self._failed[key] = str(e)
            raise

    def _find(self, key: str) -> dict[str, Any] | None:
        path = self._root / key / _VERDICT
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            path.touch()  # its age counts from its last use
        except (OSError, ValueError):
            return None
        if _UNFIT in found:
            raise UnfitBars(found[_UNFIT])
        return found

    async def _train(
        self, bars: str, key: str, spec: Mapping[str, Any], frame: Frame, on_line: OnLine
    ) -> dict[str, Any]:
        job = {**spec, "fits": str(self._fits)} if self._fits else spec
        with single_failure():
            async with asyncio.TaskGroup() as tasks:
                calibrating: list[asyncio.Task[str]] = []

                def line(told: dict[str, Any]) -> None:
                    # The refit is fitted only if every gate has passed so far; it leaves time.
                    if told.get("step") == "refit" and not calibrating:
                        work = self._calibration(bars, key)
                        calibrating.append(tasks.create_task(work, name="calibration"))
                    on_line(told)

                outcome = await self._jobs.retrain(key, job, frame, line)
                if outcome.passed:
                    begun = calibrating[0] if calibrating else self._calibration(bars, key)
                    path = outcome.folder / calibration_name(outcome.model_id)
                    await asyncio.to_thread(path.write_text, await begun)
        verdict = _verdict(outcome)
        await asyncio.to_thread(_keep, self._root / key, verdict)
        return verdict

    async def _calibration(self, bars: str, key: str) -> str:
        """Return the calibration of the drift monitor, which is the same for all champions."""
        if bars not in self._calibrations:
            self._calibrations[bars] = await self._jobs.calibrate(key, self._rate)
        return self._calibrations[bars]


def forget_fits(root: Path, fits: str = "") -> None:
    """Remove cached base models: they are large and serve only policies at the same bar."""
    shutil.rmtree(root / _FITS / fits, ignore_errors=True)


def forget_old(root: Path, before_s: float) -> int:
    """Remove candidates that were last used before a time, s since 1970; return how many.

    Nothing is removed while a backtest runs.
    """
    if not root.is_dir():
        return 0
    try:
        with folder_lock(root):
            old = [p for p in root.iterdir() if p.is_dir() and _last_of_use_s(p) < before_s]
            for path in root.glob(f"{UNFINISHED}*"):
                if path.stat().st_mtime < before_s:
                    path.unlink()
            for folder in old:
                shutil.rmtree(folder, ignore_errors=True)
    except DataFolderBusy:
        return 0
    return len(old)


def forget_beyond(root: Path, most_bytes: int = KEPT_BYTES) -> int:
    """Remove the candidates that were not used for longest, until the others fit.

    Return how many were removed. The caller holds the lock of the folder.
    """
    verdicts = {path: path.stat().st_mtime for path in root.glob(f"*/{_VERDICT}")}
    total, removed = 0, 0
    for path in sorted(verdicts, key=verdicts.__getitem__, reverse=True):
        files = path.parent.rglob("*")
        total += sum(file.stat().st_size for file in files if file.is_file())
        if total > most_bytes:
            shutil.rmtree(path.parent, ignore_errors=True)
            removed += 1
    return removed


def _last_of_use_s(folder: Path) -> float:
    # Neither file is there if the job was interrupted.
    used = next((p for name in (_VERDICT, CELL) if (p := folder / name).exists()), folder)
    return used.stat().st_mtime


def _verdict(outcome: JobOutcome) -> dict[str, Any]:
    return {
        "model_id": outcome.model_id,
        "passed": outcome.passed,
        "refused_by": list(outcome.refused_by),
        "detail": "; ".join(outcome.refusals),
        "seconds": round(outcome.seconds, 3),
    }


def _keep(folder: Path, verdict: Mapping[str, Any]) -> None:
    """Write the verdict last: a folder without one was left by an interrupted job."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bars.npz").unlink(missing_ok=True)
    (folder / _VERDICT).write_text(json.dumps(verdict))
