"""Open what trains the candidates of a backtest: children on this host, or a cluster's workers."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daemon.backtest.candidate_cache import CandidateJobs, Frame
from daemon.backtest.warm_jobs import WarmJobs
from daemon.config.backend import read_backend
from daemon.config.limits import child_limits
from daemon.config.schema import Config
from daemon.config.secrets import secret_paths
from daemon.core.subprocesses import OnLine
from daemon.fleet.fleet_jobs import FleetJobs
from daemon.fleet.opening import open_jobs
from daemon.training.jobs import ChallengeOutcome, JobOutcome, Jobs
from hyperdrift.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class TrainingPlaces:
    """What trains; `places()` says how many candidates at once, which may change.

    `is_here` tells whether its children can share files.
    """

    jobs: CandidateJobs
    places: Callable[[], int]
    is_here: bool

    def slots_at_once(self, policies: int) -> int:
        """Return how many slots keep all places busy; two policies of one train side by side."""
        return -(-self.places() // min(2, policies)) + 1


class ClusterTraining:
    """Trains candidates of a backtest by jobs that know nothing of backtests.

    Args:
        jobs: Runs the jobs.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._training = dict[str, asyncio.Event]()  # set when the retrain is over

    async def retrain(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame, on_line: OnLine
    ) -> JobOutcome:
        """Train and judge one candidate as `Jobs` does; `frame` has columns of shape (n,).

        Raises:
            RetrainFailedError: If no child ended with a candidate; says why.
        """
        now = asyncio.get_running_loop().time
        began = list[float]()  # not when it was asked for: it may wait for a worker

        def noted(line: dict[str, Any]) -> None:
            began.append(now())
            on_line(line)

        over = self._training[job_id] = asyncio.Event()
        try:
            job = {**spec, "jobs": 1, "backtest": True}
            outcome = await self._jobs.retrain(job_id, job, frame, noted)
        finally:
            del self._training[job_id]
            over.set()
        return replace(outcome, seconds=now() - began[0]) if began else outcome

    async def challenge(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame
    ) -> ChallengeOutcome:
        """Ask a quick challenger as `Jobs` does; `frame` has columns of shape (n,).

        Raises:
            RetrainFailedError: If no child ended with an answer; says why.
        """
        return await self._jobs.challenge(job_id, {**spec, "backtest": True}, frame)

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        """Calibrate the drift monitor for the candidate of `job_id`; return JSON text.

        It begins when the retrain is over: a cluster does one job of a folder at a time.

        Raises:
            RetrainFailedError: If no child ended with a calibration; says why.
        """
        if training := self._training.get(job_id):
            await training.wait()
        return await self._jobs.calibrate(job_id, false_alarms_per_month)


@asynccontextmanager
async def opened(
    config: Config, backend: str | None, root: Path, clock: Clock | None = None
) -> AsyncIterator[TrainingPlaces]:
    """Yield what trains with a backend, and end what it started at the end.

    Args:
        config: Limits of a child, and which files it may not read.
        backend: What a command names in place of `retrain.backend`.
        root: Holds the folders of the jobs.
        clock: Paces what is tried again, the system's if None.

    Raises:
        ConfigError: If there is no such backend, or its library is missing.
    """
    if read_backend(config.retrain, backend).is_local:
        limits, cores = child_limits(config.retrain), len(os.sched_getaffinity(0))
        async with WarmJobs.opened(root, limits, secret_paths(config)) as warm:
            yield TrainingPlaces(warm, lambda: cores, is_here=True)
        return
    async with open_jobs(config, root, clock or SystemClock(), backend) as jobs:
        training = ClusterTraining(jobs)
        yield TrainingPlaces(training, lambda: _places(jobs, config), is_here=False)


def _places(jobs: Jobs, config: Config) -> int:
    remote = jobs.remote_places if isinstance(jobs, FleetJobs) else 0
    return max(remote, config.retrain.parallel)
