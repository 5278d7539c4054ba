"""Candidates are trained on this host or by a cluster's jobs, which are told what a backtest is."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from daemon.backtest import backends
from daemon.backtest.backends import ClusterTraining, TrainingPlaces
from daemon.backtest.warm_jobs import WarmJobs
from daemon.core.subprocesses import Limits
from daemon.training.jobs import JobOutcome, Jobs
from tests.daemon.backtest.made_up_grid import configured
from tests.virtual_time import in_virtual_time


class WaitingJobs(Jobs):
    """Jobs that wait for a worker before they begin."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, Limits())
        self.asked, self.told = dict[str, Any](), list[str]()

    async def retrain(self, job_id: str, spec: Any, frame: Any, on_line: Any) -> JobOutcome:
        self.asked = dict(spec)
        await asyncio.sleep(0.05)
        on_line({"event": "progress", "step": "fit", "percent": 1.0})
        await asyncio.sleep(0)  # what was begun meanwhile begins
        self.told.append("trained")
        return JobOutcome(Path(), Path(), "m1", True, (), (), 0.05)

    async def calibrate(self, job_id: str, false_alarms_per_month: float) -> str:
        self.told.append("calibrated")
        return "a calibration"


@in_virtual_time
async def test_a_clusters_job_is_one_of_a_backtest_and_its_wait_does_not_count(
    tmp_path: Path,
) -> None:
    jobs, told = WaitingJobs(tmp_path), list[Any]()
    training = ClusterTraining(jobs)
    outcome = await training.retrain("1-a", {"seed": 7}, {"t": np.arange(2)}, told.append)
    assert jobs.asked == {"seed": 7, "jobs": 1, "backtest": True}
    assert (outcome.model_id, len(told)) == ("m1", 1)
    assert outcome.seconds == 0


async def test_a_cluster_calibrates_when_the_retrain_of_that_folder_is_over(
    tmp_path: Path,
) -> None:
    jobs, begun = WaitingJobs(tmp_path), list[asyncio.Task[str]]()
    training = ClusterTraining(jobs)

    def line(_: Any) -> None:
        begun.append(asyncio.create_task(training.calibrate("1-a", 1.0)))

    await training.retrain("1-a", {}, {"t": np.arange(2)}, line)
    assert await begun[0] == "a calibration"
    assert jobs.told == ["trained", "calibrated"]


async def test_on_this_host_children_stay_and_share_their_files(tmp_path: Path) -> None:
    async with backends.opened(configured(tmp_path, "BTC"), "local", tmp_path) as training:
        assert isinstance(training.jobs, WarmJobs)
        assert training.is_here
        assert training.places() >= 1


def test_more_slots_run_at_once_where_more_can_be_trained() -> None:
    def at_once(places: int, policies: int) -> int:
        return TrainingPlaces(None, lambda: places, is_here=True).slots_at_once(policies)  # type: ignore[arg-type]

    assert [at_once(2, policies) for policies in (1, 2, 5)] == [3, 2, 2]
    assert at_once(20, 4) == 11
    assert at_once(0, 1) == 1
