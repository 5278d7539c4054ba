"""Run retrains on the workers of a cluster; what no worker does runs on this host.

A worker that dies, hangs or answers nonsense costs a job one attempt. Then another worker has one,
then this host. A job that still waits for a place on this host goes back to a cluster that is there
again, if it has an attempt left. What comes back is checked here, and only the daemon signs and
deploys.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from daemon.core.outside_text import printable
from daemon.core.subprocesses import (
    ChildReport,
    Limits,
    OnLine,
    failure,
    read_line,
    why_failed,
)
from daemon.fleet import checks
from daemon.fleet.link import ClusterLink
from daemon.fleet.messages import ClusterSeen, JobBegan, JobDone, JobPrinted, RunJob
from daemon.training.jobs import Jobs
from retrain.computers import BUILTIN

log = structlog.get_logger()

_CALIBRATION: Final = "daemon.training.drift_calibration"
_WANTED: Final = {"retrain": ("candidate",), _CALIBRATION: ("calibration.json",)}
_ATTEMPTS: Final = 2
_BAD_JOB: Final = 2


class PlacesHere:
    """Lets a few jobs run on this host at once; the others wait.

    Args:
        places: How many.
    """

    def __init__(self, places: int) -> None:
        self._places, self._running = places, 0
        self._changed = asyncio.Event()

    def resize(self, places: int) -> None:
        """Let so many run at once from now on; what runs goes on."""
        self._places = places
        self._changed.set()

    def look(self) -> None:
        """Let those who wait look whether they need no place any more."""
        self._changed.set()

    async def take(self, or_else: Callable[[], bool]) -> bool:
        """Wait for a place, and take it; return False once `or_else` says that none is needed."""
        while self._running >= self._places:
            if or_else():
                return False
            self._changed.clear()
            await self._changed.wait()
        self._running += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._running -= 1
        self._changed.set()


class FleetJobs(Jobs):
    """Runs jobs on workers, with folders under `root`.

    Args:
        root: Holds the folders.
        limits: How a child may run, here or on a worker.
        hidden: As in `Jobs`.
        link: Speaks with the cluster.
        here: Lets as many jobs run on this host at once as it has places for.
    """

    def __init__(
        self,
        root: Path,
        limits: Limits,
        hidden: Sequence[Path] | None,
        link: ClusterLink,
        here: PlacesHere,
    ) -> None:
        super().__init__(root, limits, hidden)
        self._link, self._here = link, here

    def limited(self, limits: Limits, parallel: int) -> "FleetJobs":
        """Return an object for the same folders and workers with other limits.

        Args:
            limits: How a child may run, here or on a worker.
            parallel: How many jobs this host runs at once from now on.
        """
        self._here.resize(parallel)
        return FleetJobs(self._root, limits, self._hidden, self._link, self._here)

    @property
    def remote_places(self) -> int:
        """How many jobs the workers run at once now; 0 if none fits."""
        return self._link.seen.places

    def listen(self, changed: Callable[[], None]) -> None:
        """Let `changed` be called when `remote_places` may have changed."""

        def both() -> None:
            self._here.look()
            changed()

        self._link.changed = both

    async def seen(self) -> ClusterSeen:
        """Return what is there of the cluster, once it was asked."""
        await self._link.settled()
        return self._link.seen

    async def serve(self) -> None:
        """Follow the cluster until cancelled."""
        await self._link.run()

    async def _run(
        self, module: str, folder: Path, on_line: OnLine, *arguments: str
    ) -> dict[str, Any]:
        """Let a worker run the job, or this host; return the line `finished`."""
        job = await self._for_workers(module, folder, arguments)
        while True:
            if job and (finished := await self._on_workers(job, on_line)) is not None:
                return finished
            if await self._here.take(self._newer_workers(job)):
                break
        try:
            return await super()._run(module, folder, on_line, *arguments)
        finally:
            self._here.leave()

    async def _for_workers(
        self, module: str, folder: Path, arguments: tuple[str, ...]
    ) -> "_RemoteJob | None":
        """Return the job of a folder; None if only this host can do it."""
        if module not in _WANTED:
            return None
        spec = await asyncio.to_thread(_spec, folder)
        if spec.get("computer", BUILTIN) != BUILTIN:
            self._link.say_once("a bot's own features.computer runs on this host only")
            return None
        order = self._order(module, folder, arguments)
        if spec.get("backtest"):  # a daemon's retrain does not wait for hundreds of them
            order = msgspec.structs.replace(order, can_wait=True)
        return _RemoteJob(order, folder, spec)

    def _newer_workers(self, job: "_RemoteJob | None") -> Callable[[], bool]:
        """Return what tells whether workers that came since now may try a job."""
        seen = self._link.seen

        def told() -> bool:
            may = job is not None and len(job.order.without) < _ATTEMPTS
            return may and self._link.seen is not seen and self.remote_places > 0

        return told

    def _order(self, module: str, folder: Path, arguments: tuple[str, ...]) -> RunJob:
        return RunJob(
            job=folder.name,
            folder=str(folder),
            module=module,
            arguments=arguments,
            wanted=_WANTED[module],
            nice=self._limits.nice,
            timeout_s=self._limits.timeout_s,
            memory_mib=self._limits.memory_mib,
        )

    async def _on_workers(self, job: "_RemoteJob", on_line: OnLine) -> dict[str, Any] | None:
        """Return the line `finished` of a worker's child; None if this host must do the job.

        Raises:
            RetrainFailedError: If the job cannot be done, wherever it runs.
        """
        await self._link.settled()
        passing = _Passing(on_line)
        while len(job.order.without) < _ATTEMPTS:
            answer, why = await self._link.ask(job.order, passing.take), ""
            if isinstance(answer, JobDone):
                lines = job.lines(answer)
                why = await asyncio.to_thread(job.fault, answer, lines, self._limits)
                if not why:
                    return passing.end(lines)
            await asyncio.to_thread(job.clean)
            if not answer.address:
                break
            why = why or getattr(answer, "why", "")
            found, outcome = printable(why), "another worker does it, or this host"
            log.warning(
                "fleet.lost", job=answer.job, worker=answer.worker, why=found, outcome=outcome
            )
            without = (*job.order.without, answer.address)
            job.order = msgspec.structs.replace(job.order, without=without)
        return None


class _Passing:
    """Passes the lines of a worker's child on: progress at once, the rest when it is checked."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line

    def take(self, report: JobBegan | JobPrinted) -> None:
        """Pass on a line of progress."""
        if isinstance(report, JobBegan):
            return
        line = read_line(report.line.encode())
        if line is not None and line.get("event") == "progress":
            self._on_line(line)

    def end(self, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Pass on the other lines; return the last one."""
        for line in lines:
            if line.get("event") != "progress":
                self._on_line(line)
        return _last(lines)


@dataclass(slots=True)
class _RemoteJob:
    """A job for a worker: the order, its folder, and the content of its `job.json`.

    The order names the workers that lost it: each had an attempt.
    """

    order: RunJob
    folder: Path
    spec: Mapping[str, Any]

    @staticmethod
    def lines(answer: JobDone) -> list[dict[str, Any]]:
        """Return the lines of a known form."""
        return [line for raw in answer.lines if (line := read_line(raw.encode())) is not None]

    def fault(self, answer: JobDone, lines: Sequence[dict[str, Any]], limits: Limits) -> str:
        """Return why what a worker made cannot be used, "" if it can.

        Raises:
            RetrainFailedError: If the job cannot be done, wherever it runs.
        """
        report = ChildReport(lambda _: None)
        for line in lines:
            report.take(line)
        if report.failed and answer.code == _BAD_JOB and report.failed.kind != "Unusable":
            error = failure(answer.code, answer.stderr, report, limits)
            raise type(error)(printable(str(error)))
        if answer.code != 0 or report.finished is None:
            return why_failed(answer.code, answer.stderr, report, limits)
        if "--challenge" in self.order.arguments:
            return checks.challenge_fault(report.finished)
        if self.order.module == _CALIBRATION:
            return checks.calibration_fault(self.folder)
        return checks.candidate_fault(self.folder, report.finished, self.spec)

    def clean(self) -> None:
        """Remove what a worker sent."""
        for name in self.order.wanted:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _last(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return next((line for line in reversed(lines) if line.get("event") == "finished"), {})


def _spec(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "job.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
