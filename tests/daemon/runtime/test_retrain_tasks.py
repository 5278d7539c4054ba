"""What a slot has in training: whatever becomes of it, the slot hears of it and goes on."""

import asyncio
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from structlog.testing import capture_logs

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


class Broken:
    """A training with a bug, or one that is cancelled."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def run(self, *_: object) -> Any:
        raise self._error

    async def challenge(self, *_: object) -> Any:
        raise self._error


async def outcome(
    training: object, order: actions.StartRetrain | actions.AskChallenger = ORDER
) -> tuple[list[events.Event], RetrainTasks]:
    heard: list[events.Event] = []

    async def put(event: events.Event) -> None:
        heard.append(event)

    workshop = RetrainTasks(
        cast("Training", training),
        cast("Serving", Now()),
        put=put,
        put_nowait=lambda event: bool(heard.append(event)),  # type: ignore[func-returns-value]
        show=lambda: None,
        announce=lambda _message: None,
    )
    async with asyncio.TaskGroup() as tasks:
        workshop.take(order, tasks)
        assert (workshop.progress is not None) is (order is ORDER)
    return heard, workshop


async def test_a_jobs_folder_that_cannot_be_written_is_a_failed_retrain(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file is where the folder should be")
    heard, workshop = await outcome(OnlyJobs(Jobs(tmp_path / "jobs", Limits())))
    assert [type(event) for event in heard] == [events.RetrainFailed]
    failed = heard[0]
    assert isinstance(failed, events.RetrainFailed)
    assert failed.job_id == "j1"
    assert "Not a directory" in failed.error
    assert workshop.progress is None


@pytest.mark.parametrize(
    "error", [KeyError("t"), ValueError("two\nlines"), ExceptionGroup("e", [KeyError()])]
)
async def test_a_bug_in_the_training_is_a_failed_retrain_with_a_line_and_a_logged_trace(
    error: Exception,
) -> None:
    with capture_logs() as logs:
        heard, workshop = await outcome(Broken(error))
    (failed,) = heard
    assert isinstance(failed, events.RetrainFailed)
    assert failed.error.startswith(f"unexpected {type(error).__name__}: ")
    assert "\n" not in failed.error
    assert [(line["event"], line["exc_info"]) for line in logs] == [("retrain.crashed", error)]
    assert workshop.progress is None


async def test_a_bug_in_a_quick_challenger_is_an_answer_that_does_not_know() -> None:
    order = actions.AskChallenger(slot="BTC-5m", at_ms=1, job_id="j1", reason="drift")
    heard, _ = await outcome(Broken(ZeroDivisionError("division by zero")), order)
    (judged,) = heard
    assert isinstance(judged, events.ChallengerJudged)
    assert judged.helps is None
    assert "unexpected ZeroDivisionError: division by zero" in judged.detail


async def test_a_retrain_that_is_cancelled_is_no_failed_one() -> None:
    heard, workshop = await outcome(Broken(asyncio.CancelledError()))
    assert heard == []
    assert workshop.progress is None
