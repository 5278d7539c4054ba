"""The values that a slot's engine keeps about its orders, and its snapshot for people."""

from dataclasses import dataclass, field
from typing import Any

from monitor.bots import Mismatch
from monitor.phases import Phase
from monitor.watch import Champion


@dataclass(frozen=True, slots=True)
class RetrainJob:
    """A retrain under way; `over` is the champion that it set out to replace.

    Until it has `begun` it may wait for its turn, since `since_ms`, ms UTC; `late` says whether an
    alert told that it waits too long.
    """

    job_id: str
    trigger: str
    reason: str
    over: str | None
    forced: bool = False
    begun: bool = False
    judging: bool = False
    since_ms: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True)
class JudgedCandidate:
    """A model that passed every gate and waits to go live."""

    model_id: str
    job: RetrainJob


@dataclass(frozen=True, slots=True)
class Refusal:
    """A retrain without a model: its gates refused the candidate, or it failed with `error`.

    `at_ms` is when that was, `next_ms` when the policy may start another one at the earliest; 0
    if that is not known. `in_a_row` is how many candidates were refused without one that passed,
    `detail` what the gates said of the last one.
    """

    at_ms: int
    model_id: str = ""
    refused_by: tuple[str, ...] = ()
    error: str = ""
    next_ms: int = 0
    in_a_row: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PendingSwap:
    """A change of the live model that the daemon was asked for: deploy, rollback or promote."""

    kind: str
    model_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSnapshot:
    """The engine's state for people; it is published on the slot's state topic."""

    phase: str
    win_rate: float | None
    trades: int
    pnl_7d: float
    last_bar_t: int | None
    job_id: str | None
    job_begun: bool
    swap_to: str | None
    paused: bool
    waiting_for: str
    mismatch: Mismatch | None
    speakers: dict[str, int | None] = field(default_factory=dict)
    model_id: str | None = None
    previous_id: str | None = None
    model_age_s: int | None = None
    trades_before: int = 0
    earning: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    speaking: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)
    drifted: tuple[str, ...] = ()
    challenge_id: str | None = None
    probation_ends_ms: int | None = None
    probation: dict[str, float] | None = None
    refusal: Refusal | None = None
    live_since_ms: int | None = None
    live_reason: str = ""
    win_rate_of: str = "trades"
    win_rate_count: int = 0
    objection: str = ""
    may_retrain_ms: int = 0
    causes: tuple[str, ...] = ()


def phase_of(
    swap: PendingSwap | None, job: RetrainJob | None, champion: Champion | None, *, paused: bool
) -> Phase:
    """Return the most urgent phase of those that apply."""
    holds = (
        (Phase.SWAPPING, swap is not None),
        (Phase.JUDGING, job is not None and job.judging),
        (Phase.RETRAINING, job is not None),
        (Phase.PAUSED, paused),
        (Phase.PROBATION, champion is not None and champion.on_probation),
        (Phase.SERVING, champion is not None),
    )
    return next((phase for phase, true in holds if true), Phase.COLLECTING)
