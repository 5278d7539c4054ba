"""Ask whether a retrain would help, before anything is trained.

Features drift all the time; that alone does not make a model worse, nor a new one better. So a
quick challenger is compared with the live model on the bars since its training. Whatever the
evidence, it also tells which gates would refuse: where the market changed, they refuse a candidate
each day for weeks. A "no" holds for some time, or until another feature drifts. If the challenger
cannot tell, the retrain starts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.events import ChallengerJudged, TurnAwaited, TurnCame
from monitor.outbox import Finding
from monitor.policy import HOUR_MS, Start

# A question without an answer for this long counts as one that cannot be answered.
_ANSWER_WITHIN_MS = HOUR_MS
_FIGURES = ("helps", "rows", "champion", "fresh", "stale")


@dataclass(slots=True)
class Challenge:
    """The question about one live model, and its answer.

    `job_id` names the question under way, `reason` is the evidence that it was asked about, with
    the features that had `drifted`. Whether a retrain would help matters only `of_drift`.
    While it `waits` for its turn, no answer is overdue; `late` says whether an alert told that it
    waits too long.
    """

    job_id: str = ""
    reason: str = ""
    of_drift: bool = True
    asked_ms: int = 0
    waits: bool = False
    late: bool = False
    drifted: tuple[str, ...] = ()
    answer: ChallengerJudged | None = None

    def ask(self, job_id: str, at_ms: int, choice: Start, drifted: Sequence[str]) -> None:
        """Ask about a retrain; the question may have to wait for its turn."""
        self.job_id, self.asked_ms, self.answer = job_id, at_ms, None
        self.reason, self.of_drift = choice.reason, choice.trigger == "drift"
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
        """Return why a retrain for drift would not help, with figures; "" if it may help."""
        answer = self.answer if self.settled(now_ms, drifted, hold_ms) else None
        if answer is None or answer.helps is not False:
            return ""
        return f"a retrain would not help: {answer.detail}"

    def refusal(self, now_ms: int, drifted: Sequence[str], hold_ms: int) -> str:
        """Return why the gates would refuse a candidate, with figures; "" if they may not."""
        answer = self.answer if self.settled(now_ms, drifted, hold_ms) else None
        return _refusal(answer) if answer is not None and answer.refused_by else ""

    def finding(self, event: ChallengerJudged) -> Finding:
        """Return what the quick challenger found out, with its figures."""
        would = {True: "would help", False: "would not help", None: "may help"}[event.helps]
        text = f"a retrain {would}: {event.detail}"
        if event.refused_by:
            text = _refusal(event)
        elif not self.of_drift:
            text = "no gate would refuse a retrain for its accuracy or calibration"
        fields = {name: getattr(event, name) for name in _FIGURES}
        return Finding("challenge", text, fields | {"refused_by": list(event.refused_by)})


def _refusal(answer: ChallengerJudged) -> str:
    return f"a retrain would be refused by {', '.join(answer.refused_by)}: {answer.detail}"
