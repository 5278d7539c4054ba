"""What a slot has in training: whatever becomes of it, the slot hears of it and goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from structlog.testing import capture_logs

from daemon.core.errors import RetrainFailedError
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress
from daemon.runtime.retrain_tasks import RetrainTasks
from daemon.runtime.serving import Serving
from daemon.training.jobs import Jobs, Limits
from daemon.training.retrain_queue import RetrainQueue
from daemon.training.training import Training
from hyperdrift.slot_name import HOUR_MS
from monitor import actions, events
from tests import virtual_time

ORDER = actions.StartRetrain(slot="BTC-5m", at_ms=1, job_id="j1", trigger="command", reason="try")


class OnlyJobs:
    """A training whose bars are there and whose disk is real."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self.queue = jobs, RetrainQueue()

    async def run(
        self, order: actions.StartRetrain, _live: object, on_line: Any, **_: object
    ) -> Any:
        return await self._jobs.retrain(order.job_id, {}, {"t": np.zeros(3)}, on_line)


class Now:
    """The slot's time."""

    def now(self) -> dict[str, Any]:
        return {"slot": "BTC-5m", "at_ms": 7}


class Broken:
    """A training with a bug, or one that is cancelled."""

    def __init__(self, error: BaseException) -> None:
        self._error, self.queue = error, RetrainQueue()

    async def run(self, *_: object, **__: object) -> Any:
        raise self._error

    async def challenge(self, *_: object, **__: object) -> Any:
        raise self._error


class Stuck:
    """A training that fails when it is told to; `begun` are the orders that it was given."""

    def __init__(self) -> None:
        self.begun: list[actions.StartRetrain | actions.AskChallenger] = []
        self.ends, self.queue = asyncio.Queue[RetrainFailedError](), RetrainQueue()

    async def run(self, order: Any, *_: object, **__: object) -> Any:
        self.begun.append(order)
        raise await self.ends.get()

    challenge = run


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
    assert [type(event) for event in heard] == [events.TurnCame, events.RetrainFailed]
    failed = heard[1]
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
    _, failed = heard
    assert isinstance(failed, events.RetrainFailed)
    assert failed.error.startswith(f"unexpected {type(error).__name__}: ")
    assert "\n" not in failed.error
    assert [(line["event"], line["exc_info"]) for line in logs] == [("retrain.crashed", error)]
    assert workshop.progress is None


async def test_a_bug_in_a_quick_challenger_is_an_answer_that_does_not_know() -> None:
    order = actions.AskChallenger(slot="BTC-5m", at_ms=1, job_id="j1", reason="drift")
    heard, _ = await outcome(Broken(ZeroDivisionError("division by zero")), order)
    _, judged = heard
    assert isinstance(judged, events.ChallengerJudged)
    assert judged.helps is None
    assert "unexpected ZeroDivisionError: division by zero" in judged.detail


async def test_a_retrain_that_is_cancelled_is_no_failed_one() -> None:
    heard, workshop = await outcome(Broken(asyncio.CancelledError()))
    assert [type(event) for event in heard] == [events.TurnCame]
    assert workshop.progress is None


class Slots:
    """Slots with stuck trainings that share a queue of one place; what each was told."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.training, self._tasks = Stuck(), tasks
        self.heard: list[events.Event] = []
        self.shown = 0

    def slot(self) -> RetrainTasks:
        async def put(event: events.Event) -> None:
            self.heard.append(event)

        def show() -> None:
            self.shown += 1

        return RetrainTasks(
            cast("Training", self.training),
            cast("Serving", Now()),
            put=put,
            put_nowait=lambda event: not self.heard.append(event),  # type: ignore[func-returns-value]
            show=show,
            announce=lambda _message: None,
        )

    async def order(self, slot: RetrainTasks, order: Any) -> None:
        slot.take(order, self._tasks)
        for _ in range(5):
            await asyncio.sleep(0)


def far(slot: RetrainTasks) -> RetrainProgress:
    assert slot.progress is not None
    return slot.progress


def start(job: str, trigger: str = "drift") -> actions.StartRetrain:
    return actions.StartRetrain(slot="s", at_ms=1, job_id=job, trigger=trigger, reason="why")


@contextlib.asynccontextmanager
async def several() -> AsyncIterator[Slots]:
    async with asyncio.TaskGroup() as tasks:
        yield Slots(tasks)
        for task in tasks._tasks:
            task.cancel()


async def test_one_that_waits_shows_its_place_and_begins_as_of_its_turn() -> None:
    async with several() as slots:
        running, waiting, last = slots.slot(), slots.slot(), slots.slot()
        await slots.order(running, start("j1"))
        await slots.order(waiting, start("j2"))
        await slots.order(last, start("j3", "age"))
        assert waiting.progress == RetrainProgress(
            job="j2", step="waiting", percent=0.0, reason="why", place=1, waiting=2
        )
        assert (far(last).said, far(running).step) == ("waiting, 2nd of 2", "start")
        assert [order.job_id for order in slots.training.begun] == ["j1"], "no bars are read before"
        await slots.order(last, actions.HurryRetrain(slot="s", at_ms=2, job_id="j3"))
        assert far(last).said == "waiting, 1st of 2"
        slots.training.ends.put_nowait(RetrainFailedError("killed"))
        for _ in range(9):
            await asyncio.sleep(0)
        assert far(last).step == "start"
        assert [(order.job_id, order.at_ms) for order in slots.training.begun] == [
            ("j1", 1),
            ("j3", 7),
        ]
        turns = [event.job_id for event in slots.heard if isinstance(event, events.TurnCame)]
        assert turns == ["j1", "j3"]


async def test_a_retrain_that_waits_is_withdrawn_at_once_and_one_that_runs_goes_on() -> None:
    async with several() as slots:
        running, waiting, after = slots.slot(), slots.slot(), slots.slot()
        for slot, job in ((running, "j1"), (waiting, "j2"), (after, "j3")):
            await slots.order(slot, start(job))
        slots.heard.clear()
        await slots.order(waiting, actions.WithdrawJob(slot="s", at_ms=2, job_id="j2"))
        (failed,) = slots.heard
        assert isinstance(failed, events.RetrainFailed)
        assert (failed.job_id, failed.stopped) == ("j2", True)
        assert failed.error == "it was taken back while it waited for its turn"
        assert waiting.progress is None
        assert (far(after).place, far(after).waiting) == (1, 1)
        await slots.order(running, actions.WithdrawJob(slot="s", at_ms=2, job_id="j1"))
        await slots.order(running, actions.WithdrawJob(slot="s", at_ms=2, job_id="unknown"))
        assert running.progress is not None
        assert len(slots.heard) == 1


async def test_a_quick_challenger_takes_turns_too_and_ends_without_an_answer_if_withdrawn() -> None:
    async with several() as slots:
        first, second = slots.slot(), slots.slot()
        asked = actions.AskChallenger(slot="s", at_ms=1, job_id="c1", reason="drift")
        await slots.order(first, asked)
        await slots.order(second, start("j2"))
        assert first.progress is None
        assert far(second).said == "waiting, 1st of 1"
        await slots.order(first, actions.WithdrawJob(slot="s", at_ms=2, job_id="c1"))
        assert far(second).step == "start"
        assert not any(isinstance(event, events.ChallengerJudged) for event in slots.heard)


async def gone(slots: Slots, *, steps: bool) -> None:
    """Two slots that end, by chance before their tasks took a step."""
    async with asyncio.TaskGroup() as tasks:
        for job in ("j1", "j2"):
            slots.slot().take(start(job), tasks)
        await asyncio.sleep(0) if steps else None
        raise KeyError


@pytest.mark.parametrize("steps", [True, False])
async def test_a_slot_that_goes_frees_its_place_whether_it_waits_or_runs(steps: bool) -> None:
    async with several() as slots:
        with pytest.raises(ExceptionGroup):
            await gone(slots, steps=steps)
        last = slots.slot()
        await slots.order(last, start("j3"))
        assert far(last).step == "start"
        assert slots.training.queue.enter("drift").place == (1, 1)


def test_a_wait_that_is_too_long_is_told_to_the_engine_and_goes_on_over_a_restart() -> None:
    async def waited(since_ms: int) -> list[events.TurnAwaited]:
        async with several() as slots:
            await slots.order(slots.slot(), start("j1"))
            order = replace(start("j2"), at_ms=10 * HOUR_MS, since_ms=since_ms)
            await slots.order(slots.slot(), order)
            await asyncio.sleep(1800)
            return [one for one in slots.heard if isinstance(one, events.TurnAwaited)]

    remedy = "raise retrain.parallel, add workers, or follow fewer slots"
    assert virtual_time.run(waited(10 * HOUR_MS)) == []
    (told,) = virtual_time.run(waited(9 * HOUR_MS + HOUR_MS // 2))
    where = "it is 1 of 1 in the queue"
    text = f"a retrain has waited 1 h for its turn, {where}: {remedy}"
    assert told == events.TurnAwaited(slot="BTC-5m", at_ms=7, job_id="j2", detail=text)
    (told,) = virtual_time.run(waited(6 * HOUR_MS + HOUR_MS // 2))
    assert told.detail.startswith("a retrain has waited 3.5 h for its turn")


async def test_a_quick_challenger_shows_its_place_while_it_waits_and_that_it_runs() -> None:
    async with several() as slots:
        first, second = slots.slot(), slots.slot()
        await slots.order(first, start("j1"))
        before = slots.shown
        asked = actions.AskChallenger(slot="s", at_ms=1, job_id="c1", reason="drift of x")
        await slots.order(second, asked)
        assert slots.shown > before
        assert second.question == ChallengeProgress(
            job="c1", reason="drift of x", place=1, waiting=1
        )
        await slots.training.ends.put(RetrainFailedError("no"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert second.question == ChallengeProgress(job="c1", reason="drift of x")
        await slots.training.ends.put(RetrainFailedError("no"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert second.question is None
