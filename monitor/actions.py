"""The actions that the engine orders: its only output."""

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An order concerning `slot`, given at `at_ms` (event time, ms UTC)."""

    slot: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRetrain(Action):
    """Train and judge a candidate.

    `trigger` is first, drift, win_rate, age, schedule or command. `since_ms` is when its wait for
    a turn began: before `at_ms` if it waited already when the daemon was stopped.
    """

    job_id: str
    trigger: str
    reason: str
    since_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HurryRetrain(Action):
    """An operator asks for the retrain that was ordered: if it waits, it is one of the next."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawJob(Action):
    """Take back a retrain that still waits for its turn, or a quick challenger."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskChallenger(Action):
    """Ask a quick challenger whether a retrain would help, or the gates refuse it.

    The answer is a `ChallengerJudged`. `reason` is the evidence that asks for the retrain,
    `since_ms` as of `StartRetrain`.
    """

    job_id: str
    reason: str
    since_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy(Action):
    """Put this candidate live: it passed every gate."""

    job_id: str
    model_id: str
    trigger: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback(Action):
    """Put an earlier version back live; `by` names the operator who asked, "" if none did."""

    to_model_id: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote(Action):
    """Put a version live because an operator asked, whatever its gates said."""

    model_id: str
    reason: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert(Action):
    """Send a message to a person."""

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish(Action):
    """Publish an event over MQTT and append it to the journal; `fields` are those of its kind."""

    kind: str
    text: str
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Action):
    """Answer a command."""

    request_id: str
    accepted: bool
    detail: str
