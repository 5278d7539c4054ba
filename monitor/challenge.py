"""Whether a retrain would help: asked once for each drift, before anything is trained.

Features drift for ever; that alone does not make a model worse, nor a new one better. So a
quick challenger is compared with the live model on the bars since its training. Its no holds
for some time, or until another feature drifts; what it cannot tell leaves the retrain to decide.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.events import ChallengerJudged
from monitor.policy import HOUR_MS

# A question that nobody answered for this long is taken for one that cannot be answered.
_PATIENCE_MS = HOUR_MS


@dataclass(slots=True)
class Challenge:
    """What was asked about one live model, and what was answered.

    `job_id` names the question under way; `drifted` is the evidence that it was asked about.
    """

    job_id: str = ""
    asked_ms: int = 0
    drifted: tuple[str, ...] = ()
    answer: ChallengerJudged | None = None

    def ask(self, job_id: str, at_ms: int, drifted: Sequence[str]) -> None:
        """Begin to wait for an answer."""
        self.job_id, self.asked_ms, self.answer = job_id, at_ms, None
        self.drifted = tuple(drifted)

    def take(self, event: ChallengerJudged) -> bool:
        """Take an answer; return whether it was to the question under way."""
        if not self.job_id or event.job_id != self.job_id:
            return False
        self.job_id, self.answer = "", event
        return True

    def drop(self) -> None:
        """Wait no longer."""
        self.job_id = ""

    def pending(self, now_ms: int) -> bool:
        """Whether an answer may still come."""
        return bool(self.job_id) and now_ms - self.asked_ms < _PATIENCE_MS

    def settled(self, now_ms: int, drifted: Sequence[str], hold_ms: int) -> bool:
        """Whether the question needs not be asked again: answered lately, about this drift."""
        asked = self.asked_ms > 0 and self.drifted == tuple(drifted)
        return asked and not self.pending(now_ms) and now_ms - self.asked_ms < hold_ms

    def objection(self, now_ms: int, drifted: Sequence[str], hold_ms: int) -> str:
        """Return why a retrain would not help, with the figures; empty if nothing says so."""
        if not self.settled(now_ms, drifted, hold_ms):
            return ""
        if self.answer is None or self.answer.helps is not False:
            return ""
        return f"a retrain would not help: {self.answer.detail}"
