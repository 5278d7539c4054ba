"""Run a slot's training: at most one retrain or one quick challenger at a time.

The tasks run beside the slot's loop and put their results into its inbox. If a child fails,
the slot keeps the model that it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from daemon.config.schema import Config
from daemon.mqtt.messages import RetrainProgress
from daemon.runtime.serving import Serving
from daemon.training.jobs import ChallengeOutcome, JobOutcome
from daemon.training.training import Training, challenger_judged
from hyperdrift.errors import HyperdriftError
from monitor import actions, events
from retrain.errors import RetrainError

log = structlog.get_logger()

JUDGING: Final = "judge"


class RetrainTasks:
    """Runs the retrains and quick challengers that the engine orders.

    `progress` is how far the retrain is, None while none runs.

    Args:
        training: Runs a retrain.
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
        self._challenge: asyncio.Task[None] | None = None
        self.progress: RetrainProgress | None = None

    def reconfigure(self, config: Config) -> None:
        """Use another configuration from now on."""
        self._training = self._training.reconfigured(config)

    def take(
        self, order: actions.AskChallenger | actions.StartRetrain, tasks: asyncio.TaskGroup
    ) -> None:
        """Start the ordered training as a task of `tasks`."""
        if isinstance(order, actions.AskChallenger):
            work, name = self._challenged(order), f"challenge-{order.job_id}"
            self._challenge = tasks.create_task(work, name=name)
            return
        if self._challenge is not None:
            self._challenge.cancel()  # the retrain is forced: its answer is not needed
        self.progress = RetrainProgress(
            job=order.job_id, step="start", percent=0.0, reason=order.reason
        )
        tasks.create_task(self._retrain(order), name=f"retrain-{order.job_id}")

    async def _retrain(self, order: actions.StartRetrain) -> None:
        self._show()
        ended: events.Event
        try:
            ended = await self._finished(order)
        except Exception as e:  # noqa: BLE001 - whatever it is, the slot goes on; it is logged
            error = _error(e, order.job_id)
            now = self._serving.now()
            ended = events.RetrainFailed(**now, job_id=order.job_id, error=error)
        finally:
            self.progress = None
        await self._put(ended)

    async def _finished(self, order: actions.StartRetrain) -> events.RetrainFinished:
        outcome = await self._training.run(order, self._serving, self._on_line)
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

    async def _challenged(self, order: actions.AskChallenger) -> None:
        try:
            answer = await self._training.challenge(order, self._serving)
        except Exception as e:  # noqa: BLE001 - whatever it is, the slot goes on; it is logged
            error = _error(e, order.job_id)
            answer = ChallengeOutcome(None, f"the quick challenger failed: {error}")
        await self._put(challenger_judged(answer, order, self._serving.now()["at_ms"]))

    def _on_line(self, line: dict[str, Any]) -> None:
        """Handle one JSON line of the retrain child."""
        if line.get("event") != "progress" or self.progress is None:
            return
        job, step = self.progress.job, str(line.get("step"))
        if step == JUDGING != self.progress.step:
            self._put_nowait(events.JudgingBegan(**self._serving.now(), job_id=job))
        percent = float(line.get("percent", 0.0))
        self.progress = msgspec.structs.replace(self.progress, step=step, percent=percent)
        self._show()


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
