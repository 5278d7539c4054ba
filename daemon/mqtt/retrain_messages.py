"""The parts of a slot's state that are about its retrains: the one under way, and the last one."""

from typing import Final

import msgspec

WAITING: Final = "waiting"
"""The step of a retrain that waits for its turn."""


class RetrainProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a retrain is.

    Attributes:
        job: Names the retrain.
        step: The current step; `waiting` while it waits for its turn among those of all slots.
        percent: The share of the retrain that is done, 0 to 100.
        reason: Why it was ordered.
        place: Its place in the queue while it waits, 1 for the next one; 0 once it runs.
        waiting: How many wait then, this one counted; 0 once it runs.
    """

    job: str
    step: str
    percent: float
    reason: str = ""
    place: int = 0
    waiting: int = 0

    @property
    def waits(self) -> bool:
        """Whether it waits for its turn."""
        return self.step == WAITING

    @property
    def said(self) -> str:
        """Where in the queue it is, or step and share: `waiting, 3rd of 12`, `fit 40 %`."""
        if self.waits:
            return f"{WAITING}, {ordinal(self.place)} of {self.waiting}"
        return f"{self.step} {self.percent:.0f} %"


class ChallengeProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A quick challenger that was asked whether a retrain would help and pass.

    Attributes:
        job: Names it.
        reason: Why a retrain is considered.
        place: Its place in the queue while it waits, 1 for the next one; 0 once it runs.
        waiting: How many wait then, this one counted; 0 once it runs.
    """

    job: str
    reason: str
    place: int = 0
    waiting: int = 0

    @property
    def waits(self) -> bool:
        """Whether it waits for its turn."""
        return self.place > 0

    @property
    def said(self) -> str:
        """What it does and where in the queue it is."""
        far = f": {WAITING}, {ordinal(self.place)} of {self.waiting}" if self.waits else ""
        return f"asks whether a retrain would help{far}"


class RetrainRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A retrain that left no model.

    Attributes:
        at_ms: When it ended, ms UTC.
        model_id: The candidate that was refused; empty if there was none.
        refused_by: The gates that refused it.
        error: Why the retrain failed; empty if gates refused its candidate.
        next_ms: When the policy may start another one at the earliest, ms UTC.
        in_a_row: How many candidates were refused by now, without one that passed.
        detail: What these gates said, in words; empty from an older daemon.
    """

    at_ms: int
    model_id: str
    refused_by: tuple[str, ...]
    error: str
    next_ms: int
    in_a_row: int = 0
    detail: str = ""


def ordinal(number: int) -> str:
    """Return a count from 1 on as a place: `1st`, `2nd`, `11th`."""
    is_teen = number % 100 // 10 == 1
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
