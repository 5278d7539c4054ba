"""What a slot has in training: whatever becomes of it, the slot hears of it and goes on."""

import asyncio
from pathlib import Path
from typing import Any, cast

import numpy as np

from daemon.runtime.retrain_tasks import RetrainTasks
from daemon.runtime.serving import Serving
from daemon.training.jobs import Jobs, Limits
from daemon.training.training import Training
from monitor import actions, events

ORDER = actions.StartRetrain(slot="BTC-5m", at_ms=1, job_id="j1", trigger="command", reason="try")


class OnlyJobs:
    """A training whose bars are there and whose disk is real."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def run(self, order: actions.StartRetrain, _live: object, on_line: Any) -> Any:
        return await self._jobs.retrain(order.job_id, {}, {"t": np.zeros(3)}, on_line)


class Now:
    """The slot's time."""

    def now(self) -> dict[str, Any]:
        return {"slot": "BTC-5m", "at_ms": 7}


async def outcome(jobs: Jobs) -> tuple[list[events.Event], RetrainTasks]:
    heard: list[events.Event] = []

    async def put(event: events.Event) -> None:
        heard.append(event)

    workshop = RetrainTasks(
        cast("Training", OnlyJobs(jobs)),
        cast("Serving", Now()),
        put=put,
        put_nowait=lambda event: bool(heard.append(event)),  # type: ignore[func-returns-value]
        show=lambda: None,
        announce=lambda _message: None,
    )
    async with asyncio.TaskGroup() as tasks:
        workshop.take(ORDER, tasks)
        assert workshop.progress is not None
    return heard, workshop


async def test_a_jobs_folder_that_cannot_be_written_is_a_failed_retrain(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file is where the folder should be")
    heard, workshop = await outcome(Jobs(tmp_path / "jobs", Limits()))
    assert [type(event) for event in heard] == [events.RetrainFailed]
    failed = heard[0]
    assert isinstance(failed, events.RetrainFailed)
    assert failed.job_id == "j1"
    assert "Not a directory" in failed.error
    assert workshop.progress is None
