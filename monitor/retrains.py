"""Track the retrains of one slot: the running one, its candidate, and when they began."""

from collections import deque
from dataclasses import replace
from typing import Any

from monitor import events
from monitor.actions import HurryRetrain, StartRetrain, WithdrawJob
from monitor.outbox import Outbox
from monitor.policy import DAY_MS, Start
from monitor.state import JudgedCandidate, Refusal, RetrainJob

# If the last one is only stopped, it does not count, and the one before is the last.
_FEWEST = 2
# So often in a row a first model is tried again at once after the daemon died while it was
# trained; a retrain that kills the daemon each time then waits as after any other failure.
_CUT_OFF = 3
_OF_JOBS = (
    events.TurnCame,
    events.TurnAwaited,
    events.JudgingBegan,
    events.ChallengerJudged,
    events.RetrainFinished,
    events.RetrainFailed,
)


class Retrains:
    """The retrains of one slot, at most one at a time.

    Args:
        slot: Name of the slot.
        out: Collects the orders and events.

    Attributes:
        job: The retrain under way, None if there is none.
        candidate: A model that passed every gate and waits to go live.
        began_ms: When the retrains of the last day, and at least the last two, began, oldest first.
        unsuccessful_ms: When the last one that failed or was refused ended, None if none was.
        refusals: How many in a row were refused.
        refusal: What became of the last one, if it failed or was refused; else None.
    """

    def __init__(self, slot: str, out: Outbox) -> None:
        self._slot, self._out, self._named = slot, out, (0, 0)
        self._stopped: tuple[int, RetrainJob] | None = None
        self._cut_off = 0
        self.job: RetrainJob | None = None
        self.candidate: JudgedCandidate | None = None
        self.began_ms: deque[int] = deque()
        self.unsuccessful_ms: int | None = None
        self.refusals = 0
        self.refusal: Refusal | None = None

    def name(self, now_ms: int) -> str:
        """Return an id that no other retrain or challenge of this slot has.

        The number at its end is of those of this millisecond only: a replay that begins in the
        middle of the journal, as after 45 days, gives each the id that it had.
        """
        then_ms, count = self._named
        self._named = now_ms, count + 1 if then_ms == now_ms else 1
        return f"{self._slot}-{now_ms}-{self._named[1]}"

    def known(self, event: events.Event) -> events.Event:
        """Return an event with the id that `name` gave the job that it is about.

        In older journals the number at the end counts all of the slot's jobs, so it is higher.
        """
        if not isinstance(event, _OF_JOBS):
            return event
        (now_ms, count), (when, _, number) = self._named, event.job_id.rpartition("-")
        is_older = when == f"{self._slot}-{now_ms}" and number.isdecimal() and int(number) > count
        return replace(event, job_id=f"{when}-{count}") if is_older else event

    def start(self, choice: Start, now_ms: int, *, over: str | None, forced: bool) -> RetrainJob:
        """Order a retrain, which may wait for its turn; `over` is the model it is to replace.

        In place of one that was stopped just now while it waited, it goes on with that one's wait.
        """
        job_id, waited = self.name(now_ms), self._stopped
        job = RetrainJob(
            job_id, choice.trigger, choice.reason, over, forced=forced, since_ms=now_ms
        )
        if waited is not None and waited[0] == now_ms:
            job = replace(job, since_ms=waited[1].since_ms, late=waited[1].late)
        self.job = job
        self.began_ms.append(now_ms)
        while len(self.began_ms) > _FEWEST and now_ms - self.began_ms[0] >= DAY_MS:
            self.began_ms.popleft()
        why = {"trigger": choice.trigger, "reason": choice.reason}
        self._out.order(StartRetrain, job_id=job_id, **why, since_ms=job.since_ms)
        return job

    def begun(self, event: events.TurnCame) -> None:
        """Note that the retrain has begun."""
        if self.job is None or self.job.job_id != event.job_id or self.job.begun:
            return
        self.job = job = replace(self.job, begun=True)
        text = f"retrain {job.job_id} started: {job.reason}"
        self._out.publish("retrain_started", text, job=job.job_id, trigger=job.trigger)

    def awaited(self, event: events.TurnAwaited) -> bool:
        """Return whether it is news that the retrain waits too long."""
        job = self.job
        if job is None or job.job_id != event.job_id or job.begun or job.late:
            return False
        self.job = replace(job, late=True)
        return True

    def join(self) -> RetrainJob | None:
        """Make the retrain under way a forced one; return it, None if there is none."""
        if self.job is not None:
            self.job = replace(self.job, forced=True)
            if not self.job.begun:
                self._out.order(HurryRetrain, job_id=self.job.job_id)
        return self.job

    def withdraw(self) -> None:
        """Take back a retrain that waits for its turn, unless an operator asked for it."""
        if self.job is not None and not self.job.begun and not self.job.forced:
            self._out.order(WithdrawJob, job_id=self.job.job_id)

    def replaced(self, live: str) -> None:
        """Take back a retrain that waits to replace another model than the one that is live now.

        The evidence was against that one. Its candidate would be judged, and never deployed. A
        candidate that an operator has put live waits no more.
        """
        if self.candidate is not None and self.candidate.model_id == live:
            self.candidate = None
        if self.job is not None and self.job.over != live:
            self.withdraw()

    def judging(self, event: events.JudgingBegan) -> None:
        """Note that the retrain has trained its candidate."""
        if self.job is not None and self.job.job_id == event.job_id:
            self.job = replace(self.job, judging=True)

    def finished(self, event: events.RetrainFinished, now_ms: int) -> None:
        """Note the verdict; a candidate that passed waits to be deployed."""
        job = self._ended(event.job_id)
        if job is None:
            return
        self._cut_off = 0
        gates = ", ".join(event.refused_by) or "no named gate"
        verdict = "passed every gate" if event.passed else f"refused by {gates}"
        text = f"candidate {event.model_id} {verdict}" + (event.detail and f": {event.detail}")
        fields: dict[str, Any] = {"model_id": event.model_id, "passed": event.passed}
        fields["refused_by"] = list(event.refused_by)
        self._out.publish("retrain_finished", text, job=job.job_id, **fields)
        if event.passed:
            self.candidate, self.refusal = JudgedCandidate(event.model_id, job), None
            self.refusals = 0
        else:
            self.unsuccessful_ms = now_ms
            self.refusals += 1
            refused = (event.model_id, event.refused_by)
            self.refusal = Refusal(now_ms, *refused, in_a_row=self.refusals, detail=event.detail)

    def failed(self, event: events.RetrainFailed, now_ms: int) -> RetrainJob | None:
        """Note that the retrain left no candidate; return one that was only stopped.

        A stop says nothing about the data or the model, so no limit counts that retrain.
        """
        job = self._ended(event.job_id)
        if job is None:
            return None
        if event.stopped:
            self.began_ms.pop()
            self._stopped = None if job.begun else (now_ms, job)
            text = f"the retrain did not end: {event.error}"
            self._out.publish("retrain_stopped", text, job=job.job_id)
            return job
        self._cut_off = self._cut_off + 1 if event.cut_off and job.over is None else 0
        if not 0 < self._cut_off <= _CUT_OFF:
            self.unsuccessful_ms = now_ms
        self.refusal = Refusal(now_ms, error=event.error, in_a_row=self.refusals)
        text = f"the retrain failed and changed nothing: {event.error}"
        self._out.publish("retrain_failed", text, job=job.job_id, error=event.error)
        self._out.alert("warning", text)
        return None

    def _ended(self, job_id: str) -> RetrainJob | None:
        """End the running retrain and return it, None if another one runs."""
        if self.job is None or self.job.job_id != job_id:
            return None
        job, self.job = self.job, None
        return job
