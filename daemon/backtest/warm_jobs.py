"""Run the retrains of a backtest in children that stay, one for each core.

A backtest trains hundreds of candidates. Each child imports scikit-learn once, and two candidates
on one core each take less time than one after the other on two.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from daemon.core.errors import UnfitBars
from daemon.core.subprocesses import Limits, OnLine
from daemon.core.warm_child import WarmChild
from daemon.training import drift_calibration
from daemon.training.jobs import JobOutcome, Jobs
from monitor.errors import BadReference

Frame = Mapping[str, np.ndarray[Any, Any]]


class WarmJobs(Jobs):
    """Runs jobs in folders under `root`; those for which no core is free wait for their turn.

    Args:
        root: Holds the folders.
        limits: How each child may run.
        cores: Number of children at most.
        hidden: As in `Jobs`.
    """

    def __init__(
        self, root: Path, limits: Limits, cores: int, hidden: Sequence[Path] | None = None
    ) -> None:
        super().__init__(root, limits, hidden)
        self._child_limits, self._cores, self._asked = limits, cores, 0
        self._turns, self._idle = asyncio.Semaphore(cores), list[WarmChild]()
        self._took_s = dict[str, float]()  # without the wait for a core

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, root: Path, limits: Limits, hidden: Sequence[Path] | None = None
    ) -> AsyncIterator[Self]:
        """Yield one for all cores that this process may use; end its children at the end."""
        jobs = cls(root, limits, len(os.sched_getaffinity(0)), hidden)
        try:
            yield jobs
        finally:
            for child in jobs._idle:  # those of cancelled jobs have ended already
                await child.end()

    async def retrain(
        self, job_id: str, spec: Mapping[str, Any], frame: Frame, on_line: OnLine
    ) -> JobOutcome:
        """Train and judge one candidate as `Jobs` does, with as many threads as cores are free.

        Args:
            job_id: Names the folder.
            spec: The content of `job.json`, but for what is the same in all backtests.
            frame: The bars: columns of shape (n,).
            on_line: Called with each JSON line of the child while it runs.

        Raises:
            RetrainFailedError: If the child ended without a candidate; says why.
        """
        self._asked += 1
        threads = max(1, self._cores // self._asked)
        try:
            job = {**spec, "jobs": threads, "backtest": True}
            outcome = await super().retrain(job_id, job, frame, on_line)
            return replace(outcome, seconds=self._took_s.pop(job_id, outcome.seconds))
        finally:
            self._asked -= 1

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        """Calibrate the drift monitor for the candidate of `job_id`; return JSON text.

        It takes a second, and a new child for it would take two more: a thread does it.

        Raises:
            UnfitBars: If the candidate's bars allow none.
        """
        folder = self._root / job_id
        try:
            return await asyncio.to_thread(
                drift_calibration.calibrate, folder, false_alarms_per_month
            )
        except BadReference as e:
            raise UnfitBars(f"drift calibration: {e}") from e

    async def _run(
        self, module: str, folder: Path, on_line: OnLine, *arguments: str
    ) -> dict[str, Any]:
        """Let a child that waits run the job, and return its line `finished`."""
        asked = {"folder": str(folder), "challenge": "--challenge" in arguments}
        async with self._turns:
            child = self._idle.pop() if self._idle else self._child(module)
            now = asyncio.get_running_loop().time
            began = now()
            try:
                return await child.run(asked, on_line)
            finally:
                self._took_s[folder.name] = now() - began
                self._idle.append(child)

    def _child(self, module: str) -> WarmChild:
        where = self.surroundings(self._root)
        return WarmChild(("-m", module, "--serve"), self._child_limits, where)
