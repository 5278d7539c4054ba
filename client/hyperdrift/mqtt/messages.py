"""Every MQTT payload, as a frozen struct: JSON, UTF-8, times in integer ms UTC.

Readers ignore unknown fields, so that an older program understands a newer one.
Field names are a contract with other people's programs.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Side = Literal["buy", "sell"]
CommandName = Literal["retrain", "rollback", "promote", "pause", "resume"]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
# What strangers may send is kept and written down: a message is no place for megabytes.
Name = Annotated[str, Meta(max_length=200)]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Root of the payloads."""


class VenueState(Message, frozen=True, kw_only=True):
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


class FeedState(Message, frozen=True, kw_only=True):
    """What became of a slot's bars since the start; `oddities` counts harmless habits by kind."""

    confirmed: int
    provisional: int
    filled: int
    revised: int
    refused: int
    gaps: int
    oddities: dict[str, int] = {}


class DaemonStatus(Message, frozen=True, kw_only=True, omit_defaults=True):
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


class SwapOrder(Message, frozen=True, kw_only=True):
    """`<slot>/model`: load this version and make it live; retained."""

    swap_id: str
    model_id: str
    manifest: str
    sha256: dict[str, str]
    sklearn: str
    reason: str
    issued_ms: int
    signature: str = ""


class SwapAck(Message, frozen=True, kw_only=True):
    """`<slot>/model/ack`: what the bot did with a swap order."""

    swap_id: str
    model_id: Name
    status: Literal["loaded", "refused"]
    error: str = ""
    load_ms: float = 0.0
    bot_id: Name = ""


class BotPresence(Message, frozen=True, kw_only=True):
    """`<slot>/bot`: retained; the last will has `online` false."""

    online: bool
    bot_id: Name
    model_id: Name = ""
    python: Name = ""
    sklearn: Name = ""


class PredictionMade(Message, frozen=True, kw_only=True):
    """`<slot>/prediction`: what the bot predicted for the bar that opened at `t`."""

    t: int
    model_id: str
    p: tuple[Probability, Probability, Probability]
    # Any number, so that a wrong one can be told of; null is what JSON has for NaN.
    features: Annotated[tuple[float | None, ...], Meta(max_length=1000)] | None = None


class TradeReport(Message, frozen=True, kw_only=True):
    """`<slot>/trade`: a closed trade; `pnl` after fees in quote units."""

    trade_id: Name
    side: Side
    opened_ms: int
    closed_ms: int
    entry: float
    exit: float
    size: float
    fee: float
    pnl: float


class Command(Message, frozen=True, kw_only=True):
    """`<slot>/command`: an operator asks; `slot` and `by` are needed where it is signed."""

    command: CommandName
    request_id: str
    reason: str = ""
    issued_ms: int
    model_id: str = ""
    slot: str = ""
    by: str = ""
    signature: str = ""


class CommandReply(Message, frozen=True, kw_only=True):
    """`<slot>/command/reply`: the one answer to each command."""

    request_id: str
    accepted: bool
    detail: str


class RetrainProgress(Message, frozen=True, kw_only=True):
    """Where a running retrain is."""

    job: str
    step: str
    percent: float


class FeatureMismatch(Message, frozen=True, kw_only=True):
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


class SlotState(Message, frozen=True, kw_only=True):
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
