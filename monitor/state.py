"""What a slot's engine remembers of its own orders, and what it shows of itself."""

import enum
from dataclasses import dataclass

from monitor.bots import Mismatch


class Phase(enum.StrEnum):
    """What a slot is doing, in the order in which one hides another."""

    SWAPPING = "swapping"
    JUDGING = "judging"
    RETRAINING = "retraining"
    PAUSED = "paused"
    PROBATION = "probation"
    SERVING = "serving"
    COLLECTING = "collecting"


@dataclass(frozen=True, slots=True)
class Job:
    """A retrain under way; `over` is the champion that it set out to replace."""

    job_id: str
    trigger: str
    reason: str
    over: str | None
    forced: bool = False
    judging: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that passed every gate and waits to go live."""

    model_id: str
    job: Job


@dataclass(frozen=True, slots=True)
class Swap:
    """A change of the live model that the daemon was asked for: deploy, rollback or promote."""

    kind: str
    model_id: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The engine's state for people: the slot's state topic is made of it."""

    phase: str
    model_id: str | None
    previous_id: str | None
    model_age_s: int | None
    win_rate: float | None
    trades: int
    pnl_7d: float
    drift: dict[str, float]
    drifted: tuple[str, ...]
    last_bar_t: int | None
    job_id: str | None
    swap_to: str | None
    paused: bool
    probation_ends_ms: int | None
    waiting_for: str
    mismatch: Mismatch | None
