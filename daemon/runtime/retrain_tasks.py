"""Run a slot's training: at most one retrain or one quick challenger at a time.

The tasks run beside the slot's loop and put their results into its inbox. Each waits for its turn
among those of all slots, and holds no bars meanwhile. If a child fails, the slot keeps the model
that it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec
import structlog

from daemon.config.schema import Config
from daemon.mqtt.retrain_messages import WAITING, ChallengeProgress, RetrainProgress
from daemon.runtime.serving import Serving
from daemon.training.jobs import ChallengeOutcome, JobOutcome
from daemon.training.retrain_order import CHALLENGE
from daemon.training.retrain_queue import Ticket
from daemon.training.training import Training, challenger_judged
from hyperdrift.errors import HyperdriftError
from monitor import actions, events
from retrain.errors import RetrainError

log = structlog.get_logger()

JUDGING: Final = "judge"
_WITHDRAWN: Final = "it was taken back while it waited for its turn"

Ordered: TypeAlias = actions.AskChallenger | actions.StartRetrain
AnyOrdered = TypeVar("AnyOrdered", actions.AskChallenger, actions.StartRetrain)
Order: TypeAlias = Ordered | actions.HurryRetrain | actions.WithdrawJob


class _Job(NamedTuple):
    """A retrain or a quick challenger under way, with its ticket of the queue."""

    ticket: Ticket
    task: asyncio.Task[None]


class RetrainTasks:
    """Runs the retrains and quick challengers that the engine orders.

    Args:
        training: Runs a retrain; its queue gives each its turn.
        serving: The live model, which a candidate is compared with.
        put: Takes the event with the result; may wait.
        put_nowait: Takes an event during the retrain; False if there is no room for it.
        show: Called when `progress` has changed.
        announce: Publishes a message on the slot's topic.
    """

    def __init__(
        self,
        training: Training,
        serving: Serving,
        *,
        put: Callable[[events.Event], Awaitable[None]],
        put_nowait: Callable[[events.Event], bool],
        show: Callable[[], None],
        announce: Callable[[Mapping[str, object]], None],
    ) -> None:
        self._training, self._serving = training, serving
        self._put, self._put_nowait, self._show, self._announce = put, put_nowait, show, announce
        self._jobs: dict[str, _Job] = {}
        self._challenge: asyncio.Task[None] | None = None
        self._asked: actions.AskChallenger | None = None
        self._progress: RetrainProgress | None = None

    @property
    def progress(self) -> RetrainProgress | None:
        """How far the retrain is, or its place in the queue; None while there is none."""
        now = self._progress
        job = self._jobs.get(now.job) if now is not None else None
        place = job.ticket.place if job is not None else None
        if now is None or place is None:
            return now
        return msgspec.structs.replace(now, step=WAITING, **place._asdict())

    @property
    def question(self) -> ChallengeProgress | None:
        """The quick challenger that waits or runs; None while there is none."""
        asked = self._asked
        job = self._jobs.get(asked.job_id) if asked is not None else None
        if asked is None or job is None:
            return None
        where = place._asdict() if (place := job.ticket.place) is not None else {}
        return ChallengeProgress(job=asked.job_id, reason=asked.reason, **where)

    def reconfigure(self, config: Config) -> None:
        """Use another configuration from now on."""
        self._training = self._training.reconfigured(config)

    def take(self, order: Order, tasks: asyncio.TaskGroup) -> None:
        """Carry out an order; a training that it begins is a task of `tasks`."""
        match order:
            case actions.HurryRetrain():
                if (job := self._jobs.get(order.job_id)) is not None:
                    job.ticket.hurry()
            case actions.WithdrawJob():
                self._withdraw(order.job_id, tasks)
            case actions.AskChallenger():
                self._asked = order
                self._challenge = self._begin(order, CHALLENGE, tasks)
            case actions.StartRetrain():
                if self._challenge is not None:
                    self._challenge.cancel()  # the retrain is forced: its answer is not needed
                self._progress = RetrainProgress(
                    job=order.job_id, step="start", percent=0.0, reason=order.reason
                )
                self._begin(order, order.trigger, tasks)

    def _begin(self, order: Ordered, kind: str, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Let an order wait for its turn, in a task; however that ends, its place is free then."""
        waited_ms = order.at_ms - order.since_ms if order.since_ms else 0
        late = partial(self._tell_late, order.job_id)
        ticket = self._training.queue.enter(kind, moved=self._show, late=late, waited_ms=waited_ms)
        if isinstance(order, actions.AskChallenger):
            work, name = self._challenged(order, ticket), f"challenge-{order.job_id}"
        else:
            work, name = self._retrain(order, ticket), f"retrain-{order.job_id}"
        task = tasks.create_task(work, name=name)
        self._jobs[order.job_id] = _Job(ticket, task)

        def ended(_: object) -> None:  # also if it was cancelled before its first step
            ticket.leave()
            del self._jobs[order.job_id]

        task.add_done_callback(ended)
        return task

    def _withdraw(self, job_id: str, tasks: asyncio.TaskGroup) -> None:
        """End a quick challenger, or a retrain if its turn has not come yet."""
        job = self._jobs.get(job_id)
        asks = job is not None and job.task is self._challenge
        if job is None or (job.ticket.place is None and not asks):
            return
        job.task.cancel()
        if not asks:
            self._progress = None
            told = events.RetrainFailed(
                **self._serving.now(), job_id=job_id, error=_WITHDRAWN, stopped=True
            )
            tasks.create_task(self._put_event(told), name=f"withdrawn-{job_id}")

    async def _put_event(self, event: events.Event) -> None:
        await self._put(event)

    async def _turn(self, order: AnyOrdered, ticket: Ticket) -> tuple[AnyOrdered, int]:
        """Wait for the turn; return the order as of then, and how many share the host."""
        waits = ticket.place is not None
        sharing = await ticket.turn()
        now = self._serving.now()
        await self._put(events.TurnCame(**now, job_id=order.job_id))
        return (replace(order, at_ms=now["at_ms"]) if waits else order), sharing

    async def _retrain(self, order: actions.StartRetrain, ticket: Ticket) -> None:
        self._show()
        ended: events.Event
        try:
            order, sharing = await self._turn(order, ticket)
            ended = await self._finished(order, sharing)
        except Exception as e:  # noqa: BLE001 - whatever it is, the slot goes on; it is logged
            error = _error(e, order.job_id)
            now = self._serving.now()
            ended = events.RetrainFailed(**now, job_id=order.job_id, error=error)
        finally:
            self._progress = None
            ticket.leave()
        await self._put(ended)

    async def _finished(self, order: actions.StartRetrain, sharing: int) -> events.RetrainFinished:
        outcome = await self._training.run(order, self._serving, self._on_line, sharing=sharing)
        now = self._serving.now()
        self._announce(_verdict(order, outcome, now["at_ms"]))
        return events.RetrainFinished(
            **now,
            job_id=order.job_id,
            model_id=outcome.model_id,
            passed=outcome.passed,
            refused_by=outcome.refused_by,
            detail="; ".join(outcome.refusals),
        )

    async def _challenged(self, order: actions.AskChallenger, ticket: Ticket) -> None:
        self._show()
        try:
            order, sharing = await self._turn(order, ticket)
            answer = await self._training.challenge(order, self._serving, sharing=sharing)
        except Exception as e:  # noqa: BLE001 - whatever it is, the slot goes on; it is logged
            error = _error(e, order.job_id)
            answer = ChallengeOutcome(None, f"the quick challenger failed: {error}")
        finally:
            self._asked = None
            ticket.leave()
        await self._put(challenger_judged(answer, order, self._serving.now()["at_ms"]))

    def _on_line(self, line: dict[str, Any]) -> None:
        """Handle one JSON line of the retrain child."""
        if line.get("event") != "progress" or self._progress is None:
            return
        job, step = self._progress.job, str(line.get("step"))
        if step == JUDGING != self._progress.step:
            self._put_nowait(events.JudgingBegan(**self._serving.now(), job_id=job))
        percent = float(line.get("percent", 0.0))
        self._progress = msgspec.structs.replace(self._progress, step=step, percent=percent)
        self._show()

    def _tell_late(self, job_id: str, text: str) -> None:
        """Let the engine alert that a job has waited too long."""
        self._put_nowait(events.TurnAwaited(**self._serving.now(), job_id=job_id, detail=text))


def _error(error: Exception, job_id: str) -> str:
    """Return in one line why a job failed; log the traceback of an unexpected error."""
    if isinstance(error, HyperdriftError | RetrainError | OSError):
        return str(error)
    log.error("retrain.crashed", job=job_id, exc_info=error)
    why = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}" + (why and f": {why}")


def _verdict(order: actions.StartRetrain, outcome: JobOutcome, at_ms: int) -> dict[str, object]:
    """Return the message about a candidate, with the verdict of each gate."""
    verdict = "passed every gate" if outcome.passed else "was refused"
    return {
        "kind": "verdict",
        "at_ms": at_ms,
        "text": f"{outcome.model_id} {verdict}",
        "job": order.job_id,
        "trigger": order.trigger,
        "reason": order.reason,
        "model_id": outcome.model_id,
        "passed": outcome.passed,
        "gates": list(outcome.gates),
        "notes": list(outcome.notes),
        "seconds": round(outcome.seconds, 3),
    }
