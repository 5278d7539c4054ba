"""Ask once for each drift whether a retrain would help, before anything is trained.

Features drift all the time; that alone does not make a model worse, nor a new one better. So a
quick challenger is compared with the live model on the bars since its training. Its "no" holds
for some time, or until another feature drifts. If it cannot tell, the retrain starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.events import ChallengerJudged, TurnAwaited, TurnCame
from monitor.outbox import Finding
from monitor.policy import HOUR_MS

# A question without an answer for this long counts as one that cannot be answered.
_ANSWER_WITHIN_MS = HOUR_MS


@dataclass(slots=True)
class Challenge:
    """The question about one live model, and its answer.

    `job_id` names the question under way; `drifted` is the evidence that it was asked about.
    While it `waits` for its turn, no answer is overdue; `late` says whether an alert told that it
    waits too long.
    """

    job_id: str = ""
    asked_ms: int = 0
    waits: bool = False
    late: bool = False
    drifted: tuple[str, ...] = ()
    answer: ChallengerJudged | None = None

    def ask(self, job_id: str, at_ms: int, drifted: Sequence[str]) -> None:
        """Ask; the question may have to wait for its turn."""
        self.job_id, self.asked_ms, self.answer = job_id, at_ms, None
        self.drifted, self.waits, self.late = tuple(drifted), True, False

    def begun(self, event: TurnCame) -> None:
        """Wait for an answer from now on."""
        if self.job_id == event.job_id and self.waits:
            self.asked_ms, self.waits = event.at_ms, False

    def awaited(self, event: TurnAwaited) -> bool:
        """Return whether it is news that the question waits too long."""
        is_news = self.job_id == event.job_id and self.waits and not self.late
        self.late = self.late or is_news
        return is_news

    def take(self, event: ChallengerJudged) -> bool:
        """Take an answer; return whether it was to the question under way."""
        if not self.job_id or event.job_id != self.job_id:
            return False
        self.job_id, self.answer = "", event
        return True

    def drop(self) -> None:
        """Stop waiting for an answer."""
        self.job_id = ""

    def withdraw(self) -> str:
        """Take back a question that waits for its turn; return its job, "" if none does."""
        if not self.job_id or not self.waits:
            return ""
        job_id, self.job_id, self.asked_ms = self.job_id, "", 0
        return job_id

    def pending(self, now_ms: int) -> bool:
        """Whether an answer may still come."""
        return bool(self.job_id) and (self.waits or now_ms - self.asked_ms < _ANSWER_WITHIN_MS)

    def settled(self, now_ms: int, drifted: Sequence[str], hold_ms: int) -> bool:
        """Whether the same question was asked less than `hold_ms` ago and waits no more."""
        asked = self.asked_ms > 0 and self.drifted == tuple(drifted)
        return asked and not self.pending(now_ms) and now_ms - self.asked_ms < hold_ms

    def objection(self, now_ms: int, drifted: Sequence[str], hold_ms: int) -> str:
        """Return why a retrain would not help, with the figures; "" if it may help."""
        if not self.settled(now_ms, drifted, hold_ms):
            return ""
        if self.answer is None or self.answer.helps is not False:
            return ""
        return f"a retrain would not help: {self.answer.detail}"


def challenge_finding(event: ChallengerJudged) -> Finding:
    """Return the finding of a quick challenger, with its figures."""
    would = {True: "would help", False: "would not help", None: "may help"}[event.helps]
    fields = {
        name: getattr(event, name) for name in ("helps", "rows", "champion", "fresh", "stale")
    }
    return Finding("challenge", f"a retrain {would}: {event.detail}", fields)
