"""The messages of a bot over MQTT: JSON, UTF-8, times in integer ms UTC.

Readers ignore unknown fields, so that an older program understands a newer one.
Field names are a contract with other people's programs. The messages are plain dataclasses,
read with the standard library alone, so that a bot needs no further package for them.
"""

import dataclasses
import json
import math
import types
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from hyperdrift.errors import BadInput

Side = Literal["buy", "sell"]
T = TypeVar("T")

_LONGEST_INT: Final = 2**63


@dataclass(frozen=True)
class Longest:
    """A text or list of at most `count` characters or values."""

    count: int


@dataclass(frozen=True)
class Within:
    """A number from `low` to `high`."""

    low: float
    high: float


# Any client of the broker may send these, and they are stored: so their length is limited.
Name = Annotated[str, Longest(200)]
Probability = Annotated[float, Within(0.0, 1.0)]


@dataclass(frozen=True)
class Message:
    """Root of the payloads."""


@dataclass(frozen=True, kw_only=True)
class SwapOrder(Message):
    """`<slot>/model`: load this version and make it live; retained.

    Attributes:
        swap_id: Names the order; the acknowledgement repeats it.
        model_id: The version to load.
        manifest: Path of LATEST.json on the daemon's host.
        sha256: File name -> digest in hex, as in the manifest.
        sklearn: Version of the scikit-learn that wrote the model.
        reason: Why it is deployed, in words.
        issued_ms: When the order was given, ms UTC.
        latest: Digest, in hex, of the LATEST.json that a bot may fetch; empty if it may not.
        signature: Base64 Ed25519 signature of the canonical JSON without this field.
    """

    swap_id: str
    model_id: str
    manifest: str
    sha256: dict[str, str]
    sklearn: str
    reason: str
    issued_ms: int
    latest: str = ""
    signature: str = ""


@dataclass(frozen=True, kw_only=True)
class SwapAck(Message):
    """`<slot>/model/ack`: what the bot did with a swap order.

    Attributes:
        swap_id: The `swap_id` of the order.
        model_id: The version that was ordered.
        status: Whether the version is live in the bot now.
        error: Why it was refused; empty when loaded.
        load_ms: How long checking and loading took, ms.
        bot_id: Names the bot.
    """

    swap_id: str
    model_id: Name
    status: Literal["loaded", "refused"]
    error: str = ""
    load_ms: float = 0.0
    bot_id: Name = ""


@dataclass(frozen=True, kw_only=True)
class BotPresence(Message):
    """`<slot>/bot/<bot_id>`: retained; the last will has `online` false.

    The older topic without the id, one for all bots of a slot, is still read.

    Attributes:
        online: Whether the bot is connected.
        bot_id: Names the bot; each bot of a slot needs a name of its own.
        model_id: The model that is live in the bot; empty before the first one.
        python: Version of the bot's Python.
        sklearn: Version of the bot's scikit-learn; empty if it has none.
        forms: The forms of a model that it can load, the better one first; empty for a bot of
            before there were two.
        waiting_for: What the ordered version lacks here, in words; the bot asks again and
            again. Empty if the bot waits for nothing.
        heartbeat_s: How often the bot says this again, in seconds; 0 if it does not.
    """

    online: bool
    bot_id: Name
    model_id: Name = ""
    python: Name = ""
    sklearn: Name = ""
    forms: Annotated[tuple[Name, ...], Longest(10)] = ()
    waiting_for: Annotated[str, Longest(1000)] = ""
    heartbeat_s: Annotated[float, Within(0, 86_400)] = 0.0


@dataclass(frozen=True, kw_only=True)
class PredictionMade(Message):
    """`<slot>/prediction`: what the bot predicted for one bar.

    Attributes:
        t: Open time of the bar, ms UTC.
        model_id: The model that made the prediction.
        p: Probabilities of DOWN, NEUTRAL, UP, each from 0 to 1.
        features: The features that the bot computed, in the manifest's order. Any number of
            values is accepted, so that a wrong number can be reported. null stands for NaN.
        bot_id: Names the bot; empty for a bot of before there were several on a slot.
    """

    t: int
    model_id: str
    p: tuple[Probability, Probability, Probability]
    features: Annotated[tuple[float | None, ...], Longest(1000)] | None = None
    bot_id: Name = ""


@dataclass(frozen=True, kw_only=True)
class TradeReport(Message):
    """`<slot>/trade`: a closed trade, from flat to flat: what closes in parts is one trade.

    Attributes:
        trade_id: Names the trade; a trade that is reported twice counts once.
        side: Side of the opening order.
        opened_ms: When it was opened, ms UTC.
        closed_ms: When it was closed, ms UTC.
        entry: Price at which it was opened, quote units.
        exit: Price at which it was closed, on average, quote units.
        size: Size, base units.
        fee: Fees of all orders, quote units.
        pnl: Profit of all parts after fees, quote units.
    """

    trade_id: Name
    side: Side
    opened_ms: int
    closed_ms: int
    entry: float
    exit: float
    size: float
    fee: float
    pnl: float


def encode(message: Message | Mapping[str, Any]) -> bytes:
    """Return a message as JSON; NaN and infinity become null.

    Raises:
        TypeError: If JSON has no form for one of its values.
    """
    whole = dataclasses.asdict(message) if isinstance(message, Message) else message
    text = json.dumps(_finite(whole), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode(payload: bytes, kind: type[T]) -> T:
    """Read one message; unknown fields are ignored.

    Args:
        payload: The payload as received.
        kind: The class of the message.

    Raises:
        BadInput: If it is no JSON object, or a field is missing or has the wrong type.
    """
    document = json_object(payload)
    hints = _hints(cast("Hashable", kind))
    values: dict[str, Any] = {}
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        if one.name in document:
            values[one.name] = _read(document[one.name], hints[one.name], one.name)
        elif one.default is dataclasses.MISSING:
            raise BadInput(f"{one.name} is missing")
    return kind(**values)


def json_object(payload: bytes) -> dict[str, Any]:
    """Read a JSON object without NaN and infinity.

    Raises:
        BadInput: If the payload is anything else.
    """
    try:
        text = payload.decode()
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as e:
        raise BadInput(f"it is no JSON ({type(e).__name__})") from e
    if not isinstance(document, dict):
        raise BadInput(f"it is {_called(document)}, must be an object")
    return document


def _refuse(constant: str) -> None:
    raise ValueError(constant)


@cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(cast("type", kind), include_extras=True)


def _read(value: Any, hint: Any, where: str) -> Any:
    try:
        return _converted(value, hint, where)
    except RecursionError as e:  # it is quoted
        raise BadInput(f"{where} is nested too deep") from e


def _converted(value: Any, hint: Any, where: str) -> Any:
    """Return a JSON value in the type that its field declares.

    Raises:
        BadInput: If it does not fit that type.
    """
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounded(_converted(value, options[0], where), options[1], where)
    if origin in {Union, types.UnionType}:
        if value is None:
            return None
        return _converted(value, next(o for o in options if o is not type(None)), where)
    if origin is Literal:
        if value not in options:
            raise BadInput(f"{where} is {value!r:.80}, must be one of {', '.join(options)}")
        return value
    if origin is dict and isinstance(value, dict):
        return {_plain(k, str, where): _plain(v, str, where) for k, v in value.items()}
    if origin is tuple and isinstance(value, list):
        kinds = [options[0]] * len(value) if options[-1] is Ellipsis else list(options)
        if len(kinds) != len(value):
            raise BadInput(f"{where} has {len(value)} values, must have {len(kinds)}")
        return tuple(_converted(v, k, where) for v, k in zip(value, kinds, strict=True))
    return _plain(value, origin or hint, where)


def _plain(value: Any, kind: type, where: str) -> Any:
    """Return a text, a flag or a number in the type `kind`.

    Raises:
        BadInput: If it does not fit that type.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and is_number and abs(value) < math.inf:
        with_point = _as_float(value)
        if with_point is not None:
            return with_point
    if kind is int and is_number and abs(value) < _LONGEST_INT and value % 1 == 0:
        return int(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and _is_text(value):
        return value
    expected = {float: "a number", int: "an integer", bool: "true or false", str: "a text"}
    raise BadInput(f"{where} is {_called(value)}, must be {expected.get(kind, 'a list or object')}")


def _as_float(value: float) -> float | None:
    try:
        return float(value)
    except OverflowError:  # an integer beyond what a float can hold
        return None


def _is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8: JSON can escape half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bounded(value: Any, limit: Longest | Within, where: str) -> Any:
    """Return a value if it keeps to the limit of its field.

    Raises:
        BadInput: If it does not.
    """
    if isinstance(limit, Longest):
        if len(value) > limit.count:
            what = "characters" if isinstance(value, str) else "values"
            raise BadInput(f"{where} has {len(value)} {what}, may have at most {limit.count}")
    elif not limit.low <= value <= limit.high:
        raise BadInput(f"{where} is {value:g}, must be between {limit.low:g} and {limit.high:g}")
    return value


def _called(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number out of range or kind")


def _finite(value: Any) -> Any:
    """Return plain JSON values: None for NaN and infinity, Python's numbers for numpy's."""
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return _finite(value.item())
    return value
