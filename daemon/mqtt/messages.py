"""The MQTT messages of the daemon and of operators, as frozen structs; times are integer ms UTC.

They are JSON in UTF-8. Those between daemon and bots are in `hyperdrift.mqtt.messages`.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import structlog

from daemon.core.outside_text import decode_json
from daemon.mqtt.retrain_messages import ChallengeProgress, RetrainProgress, RetrainRefusal
from hyperdrift.errors import BadInput
from hyperdrift.mqtt import messages

CommandName = Literal["retrain", "rollback", "promote", "pause", "resume"]
T = TypeVar("T")

_FARTHEST_MS: Final = 2**53  # its seconds are still a float
_TOPICS: Final = 1000
_KNOWN_BY: Final = 200  # characters of a topic, which may have 65,535

log = structlog.get_logger()


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """Base class of the daemon's payloads."""


class VenueState(Payload, frozen=True, kw_only=True):
    """The state of the connections to the venue; counts are since the start.

    Attributes:
        connected: Whether the stream is connected.
        reconnects: How often the stream was connected again.
        weight_left: Request weight that is left in this minute.
        weight_per_minute: Request weight that may be used in a minute.
        retries: REST calls that failed and were tried again.
        throttled: How many of those calls were answered with 429.
        clock_jumps: How often the venue's clock jumped.
        oddities: Kind of anomaly -> how often it was seen, in all slots together.
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
    """Counts of a slot's bars since the start.

    Attributes:
        confirmed: Bars that REST confirmed.
        provisional: Bars handed on as the stream showed them, before REST confirmed them.
        filled: Flat bars handed on for times in which nobody traded.
        revised: Bars that REST changed after they were handed on.
        refused: Bars with impossible numbers, or from the future.
        gaps: Bars that nobody can fill any more.
        record_t: Open time of the newest bar of record, ms UTC; null if there is none.
        oddities: Kind of anomaly -> how often it was seen.
    """

    confirmed: int
    provisional: int
    filled: int
    revised: int
    refused: int
    gaps: int
    record_t: int | None = None
    oddities: dict[str, int] = {}


class TradesState(Payload, frozen=True, kw_only=True, omit_defaults=True):
    """What became of the trades of the bot, from its file or from its messages.

    Attributes:
        taken: Trades that count, each for its slot.
        old: Trades that closed too long ago to count.
        no_slot: Coin as it is written -> trades of it that belong to no slot.
        bad: Why a trade cannot be counted -> how many.
        others: What is no closed trade -> how many.
        first_bad: The first bad one and its reason.
        trouble: Why the file cannot be read; empty if it can.
    """

    taken: int = 0
    old: int = 0
    no_slot: dict[str, int] = {}
    bad: dict[str, int] = {}
    others: dict[str, int] = {}
    first_bad: str = ""
    trouble: str = ""


class DaemonStatus(Payload, frozen=True, kw_only=True, omit_defaults=True):
    """`status`: retained; the last will is `{"state": "offline"}`.

    Attributes:
        state: Whether the daemon runs.
        version: The version of hyperdrift.
        slots: Names of the daemon's slots.
        since_ms: When it started, ms UTC.
        doing: How far a start is, in words; empty once the daemon is ready.
        venue: The connections to the venue.
        feed: Slot -> counts of its bars.
        trades: `file` and `messages` -> what became of the trades from there.
        instance: Names this run of the daemon.
        host: The name of its host.
        pid: The id of its process.
        trouble: What is wrong and concerns all slots, and what to do; empty if nothing.
    """

    state: Literal["online", "offline"]
    version: str = ""
    slots: tuple[str, ...] = ()
    since_ms: int = 0
    doing: str = ""
    venue: VenueState | None = None
    feed: dict[str, FeedState] = {}
    trades: dict[str, TradesState] = {}
    instance: str = ""
    host: str = ""
    pid: int = 0
    trouble: str = ""


class Command(Payload, frozen=True, kw_only=True):
    """`<slot>/command`: an operator asks for something.

    Attributes:
        command: What to do.
        request_id: Names the command; the reply repeats it.
        reason: Why, for the journal.
        issued_ms: When it was given, ms UTC; one older than 60 s is refused.
        model_id: The version to promote or to roll back to.
        slot: The slot; required in a signed command.
        by: Who asks; required in a signed command.
        signature: Base64 Ed25519 signature of the canonical JSON without this field.
    """

    command: CommandName
    request_id: str
    reason: str = ""
    issued_ms: Annotated[int, msgspec.Meta(ge=-_FARTHEST_MS, le=_FARTHEST_MS)]
    model_id: str = ""
    slot: str = ""
    by: str = ""
    signature: str = ""


class CommandReply(Payload, frozen=True, kw_only=True):
    """`<slot>/command/reply`: the one answer to each command.

    Attributes:
        request_id: The id of the command.
        accepted: Whether the command is carried out.
        detail: What happens now, or why it was refused.
    """

    request_id: str
    accepted: bool
    detail: str


class FeatureMismatch(Payload, frozen=True, kw_only=True):
    """How a bot's features differ from the daemon's; nothing is deployed meanwhile.

    Attributes:
        t: Open time of the newest bar that differs, ms UTC.
        column: The first column that differs.
        theirs: The bot's value; null is undefined.
        ours: The daemon's value; null is undefined.
        others: How many more columns differ.
        bars: Bars that differed.
        clean: Bars in a row that have agreed since.
    """

    t: int
    column: str
    theirs: float | None
    ours: float | None
    others: int
    bars: int
    clean: int


class BotState(Payload, frozen=True, kw_only=True):
    """A bot of a slot, as the daemon sees it.

    Attributes:
        bot_id: The name of the bot.
        online: Whether it is connected to the broker, and no ghost.
        model_id: The model that is live in it; empty before the first one.
        waiting_for: What the ordered version lacks there, in words; empty if nothing.
        silent_since_ms: Since when it is online without a prediction, ms UTC; null if it predicts.
        answer: What it said to the newest swap order: `loaded`, `refused`, or empty.
    """

    bot_id: str
    online: bool
    model_id: str = ""
    waiting_for: str = ""
    silent_since_ms: int | None = None
    answer: str = ""


class SlotState(Payload, frozen=True, kw_only=True):
    """`<slot>/state`: what a slot is doing; retained.

    Attributes:
        phase: In one word: collecting, serving, probation, paused, retraining, judging or swapping.
        model_id: The live version; null before the first one.
        model_age_s: Seconds since the newest bar that it learnt from.
        win_rate: Share of the bot's trades that won, 0 to 1; of the model's signals if no trades.
        trades: How many trades or signals the share is of.
        drift: Feature -> evidence for a change; 1 is an alarm.
        last_bar_t: Open time of the newest bar that was scored, ms UTC.
        lag_ms: How long after its close it was scored, or the next one waits by now, if more, ms.
        retrain: The retrain that runs; null if none does.
        pnl_7d: Profit of the bot's trades of the last seven days, quote units.
        trades_before: How many more were opened before the live model; they count as profit only.
        earning: What `signals` and `trades` earn after costs, `of_model`, `since_start`: `mean_bp`
            of `count`, from 30 on `low_bp`, `high_bp`; `verdict`: too few, not shown, shown, loses.
            Trades that were open together are one return.
        speaking: On what `share` of its `bars` the live model gave a signal, and what was expected.
        waiting_for: The policy's newest decision, and why.
        trouble: What the slot lacks and what to do, model or market data; empty if nothing.
        probation: Evidence against the live model, while it is on probation.
        mismatch: How the bot's features differ; null if they agree.
        labels: What the live version's labels are and why, in words; empty before the first one.
        bots: Every bot that was heard of since the daemon's start, by name.
        refusal: What became of the last retrain, if it left no model; else null.
        live_since_ms: When the live version became the live one, ms UTC; null before the first.
        may_retrain_ms: When the policy may start a retrain at the earliest, ms UTC.
        causes: What would start one then, in words; empty if only an operator would.
        win_rate_of: Whether `win_rate` is of `trades` or `signals`.
        win_rate_count: How many of the newest ones it is of.
        probation_ends_ms: When the live model is confirmed unless it is worse, ms UTC, or null.
        objection: Why no model is deployed now, by a bot's features or library; empty if one may.
        live_reason: Why the live version was put live; empty before the first one.
        challenge: The quick challenger that waits or runs; null if none does.
    """

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
    trades_before: int = 0
    earning: dict[str, dict[str, dict[str, Any]]] = msgspec.field(default_factory=dict)
    speaking: dict[str, Any] = {}
    waiting_for: str = ""
    trouble: str = ""
    probation: dict[str, float] | None = None
    mismatch: FeatureMismatch | None
    labels: str = ""
    bots: tuple[BotState, ...] = ()
    refusal: RetrainRefusal | None = None
    live_since_ms: int | None = None
    may_retrain_ms: int = 0
    causes: tuple[str, ...] = ()
    win_rate_of: str = "trades"
    win_rate_count: int = 0
    probation_ends_ms: int | None = None
    objection: str = ""
    live_reason: str = ""
    challenge: ChallengeProgress | None = None


class PayloadReader:
    """Decodes JSON payloads; logs the first malformed one of a topic until one can be read."""

    def __init__(self) -> None:
        self._malformed: set[str] = set()

    def read(self, topic: str, payload: bytes, kind: type[T]) -> T | None:
        """Return the message, None if the payload is malformed."""
        try:
            message = decode(payload, kind)
        except BadInput as e:
            key = topic[:_KNOWN_BY]
            if key not in self._malformed:
                log.warning("bus.malformed", topic=topic, why=str(e))
            if len(self._malformed) >= _TOPICS:  # anybody can invent topics of bots
                self._malformed.clear()
            self._malformed.add(key)
            return None
        self._malformed.discard(topic[:_KNOWN_BY])
        return message


def decode(payload: bytes, kind: type[T]) -> T:
    """Decode one message of a bot or an operator.

    Raises:
        BadInput: If it is no JSON object, or a field is missing or has a wrong type.
    """
    if issubclass(kind, messages.Message):
        return messages.decode(payload, kind)
    found: T = decode_json(payload, kind)
    return found


def encode(payload: Any) -> bytes:
    """Return a payload of any kind as JSON."""
    return msgspec.json.encode(payload)
