"""What the daemon says over MQTT, and what operators ask of it, as frozen structs.

JSON, UTF-8, times in integer ms UTC. What bots say and hear is in `hyperdrift.mqtt.messages`:
the contract of both sides stands there once.
"""

from typing import Any, Literal, TypeVar

import msgspec
import structlog

from hyperdrift.errors import BadInput
from hyperdrift.mqtt import messages
from hyperdrift.mqtt.messages import Message

CommandName = Literal["retrain", "rollback", "promote", "pause", "resume"]
T = TypeVar("T")

log = structlog.get_logger()


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Root of the daemon's payloads."""


class VenueState(Payload, frozen=True, kw_only=True):
    """How the connections to the venue are; counts are since the start.

    `oddities` counts harmless habits by kind, those of all slots together.
    """

    connected: bool
    reconnects: int
    weight_left: int
    weight_per_minute: int
    retries: int
    throttled: int
    clock_jumps: int
    oddities: dict[str, int] = {}


class FeedState(Payload, frozen=True, kw_only=True):
    """What became of a slot's bars since the start; `oddities` counts harmless habits by kind."""

    confirmed: int
    provisional: int
    filled: int
    revised: int
    refused: int
    gaps: int
    oddities: dict[str, int] = {}


class DaemonStatus(Payload, frozen=True, kw_only=True, omit_defaults=True):
    """`status`: retained; the last will is `{"state": "offline"}`.

    `doing` says in words how far a start is, and is empty once the daemon is ready.
    """

    state: Literal["online", "offline"]
    version: str = ""
    slots: tuple[str, ...] = ()
    since_ms: int = 0
    doing: str = ""
    venue: VenueState | None = None
    feed: dict[str, FeedState] = {}


class Command(Payload, frozen=True, kw_only=True):
    """`<slot>/command`: an operator asks; `slot` and `by` are needed where it is signed."""

    command: CommandName
    request_id: str
    reason: str = ""
    issued_ms: int
    model_id: str = ""
    slot: str = ""
    by: str = ""
    signature: str = ""


class CommandReply(Payload, frozen=True, kw_only=True):
    """`<slot>/command/reply`: the one answer to each command."""

    request_id: str
    accepted: bool
    detail: str


class RetrainProgress(Payload, frozen=True, kw_only=True):
    """Where a running retrain is."""

    job: str
    step: str
    percent: float


class FeatureMismatch(Payload, frozen=True, kw_only=True):
    """How a bot's features differ from ours; nothing is deployed meanwhile.

    The newest such bar `t`, the first differing column and both values; `bars` counts bars
    that differed, `clean` those in a row that did not since.
    """

    t: int
    column: str
    theirs: float | None
    ours: float | None
    others: int
    bars: int
    clean: int


class SlotState(Payload, frozen=True, kw_only=True):
    """`<slot>/state`: retained; `trouble` says why the live model cannot be used, if it cannot."""

    phase: str
    model_id: str | None
    model_age_s: int | None
    win_rate: float | None
    trades: int
    drift: dict[str, float]
    last_bar_t: int | None
    lag_ms: int | None
    retrain: RetrainProgress | None
    pnl_7d: float = 0.0
    waiting_for: str = ""
    trouble: str = ""
    probation: dict[str, float] | None = None
    mismatch: FeatureMismatch | None


class PayloadReader:
    """Decodes JSON payloads; logs the first malformed one of each topic until one is well."""

    def __init__(self) -> None:
        self._malformed: set[str] = set()

    def read(self, topic: str, payload: bytes, kind: type[T]) -> T | None:
        """Return the message, None if it is not one."""
        try:
            message = decode(payload, kind)
        except BadInput as e:
            if topic not in self._malformed:
                log.warning("bus.malformed", topic=topic, why=str(e))
            self._malformed.add(topic)
            return None
        self._malformed.discard(topic)
        return message


def decode(payload: bytes, kind: type[T]) -> T:
    """Read one message, a bot's or an operator's.

    Raises:
        BadInput: If it is no JSON object, or a field is missing or not of its kind.
    """
    if issubclass(kind, Message):
        return messages.decode(payload, kind)
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise BadInput(str(e)) from e


def encode(payload: Any) -> bytes:
    """Return a payload as JSON, whichever side declares it."""
    return msgspec.json.encode(payload)
