"""Build the venue's requests and read its answers: the only module that knows its JSON.

Prices come as strings, sometimes as numbers; both are read. Candle data comes as one object,
but as an array in the documentation; both are read. A wrong shape raises `SchemaChanged` with
the unexpected text. A bar with impossible numbers is returned as refused, so that the other
bars of the answer can be used.
"""

import math
from typing import Any, Final, Literal

import msgspec

from daemon.core.bars import Bar, Funding
from daemon.core.errors import SchemaChanged
from daemon.hyperliquid.frames import (
    Acknowledged,
    CandleFrame,
    Candles,
    Channel,
    ErrorFrame,
    Frame,
    OtherFrame,
    RefusedBar,
    Trade,
    Trades,
    TradesOf,
)
from hyperdrift.slot_name import INTERVAL_MS, SlotName

FUNDING_PAGE_ROWS: Final = 500
"""Most rows of one `fundingHistory` answer."""

META_REQUEST: Final = b'{"type":"meta"}'
STATUS_REQUEST: Final = b'{"type":"exchangeStatus"}'
PING: Final = '{"method":"ping"}'

_GREETING: Final = b"Websocket connection established"
"""The first frame of a connection; no other frame may be plain text."""
_QUOTED_CHARS: Final = 200
_LATEST_MS: Final = 10**13  # the year 2286


class _Candle(msgspec.Struct):
    t: int
    s: str
    i: str
    o: float
    h: float
    l: float  # noqa: E741 - the venue's name
    c: float
    v: float
    n: int = 0


class _Trade(msgspec.Struct):
    coin: str
    side: Literal["A", "B"]
    sz: float
    time: int
    tid: int
    users: tuple[str, str]


class _Timed(msgspec.Struct):
    t: int


class _Label(msgspec.Struct):
    t: int
    s: str
    i: str


class _FundingRow(msgspec.Struct, rename={"rate": "fundingRate"}):
    coin: str
    rate: float
    time: int


class _Listed(msgspec.Struct, rename={"delisted": "isDelisted"}):
    name: str
    delisted: bool = False


class _Meta(msgspec.Struct):
    universe: list[_Listed]


class _Status(msgspec.Struct):
    time: int


class _Envelope(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Echo(msgspec.Struct):
    subscription: dict[str, Any]


def candles_request(slot: SlotName, start_ms: int, end_ms: int | None) -> bytes:
    """Ask for the bars from the one that contains `start_ms` to the one with `end_ms`, ms UTC."""
    wanted: dict[str, object] = {"coin": slot.coin, "interval": slot.interval}
    wanted |= {"startTime": start_ms} | ({} if end_ms is None else {"endTime": end_ms})
    return msgspec.json.encode({"type": "candleSnapshot", "req": wanted})


def funding_request(coin: str, start_ms: int, end_ms: int | None) -> bytes:
    """Ask for one page of the funding rates stamped `start_ms` (ms UTC) or later, oldest first."""
    wanted: dict[str, object] = {"type": "fundingHistory", "coin": coin, "startTime": start_ms}
    return msgspec.json.encode(wanted | ({} if end_ms is None else {"endTime": end_ms}))


def meta_request(dex: str) -> bytes:
    """Ask for the perps of a builder's dex; "" is the venue's own."""
    return msgspec.json.encode({"type": "meta", "dex": dex}) if dex else META_REQUEST


def subscription(wanted: Channel) -> dict[str, str]:
    """Name the candle channel of a slot, or the trades channel of a coin."""
    if isinstance(wanted, TradesOf):
        return {"type": "trades", "coin": wanted.coin}
    return {"type": "candle", "coin": wanted.coin, "interval": wanted.interval}


def subscribe(wanted: Channel) -> str:
    """Ask for a slot's candles, or a coin's trades."""
    frame = {"method": "subscribe", "subscription": subscription(wanted)}
    return msgspec.json.encode(frame).decode()


def decode_candles(body: bytes, slot: SlotName) -> Candles:
    """Read a `candleSnapshot` answer; return bars ascending in t, each t once.

    A row that cannot be read, or belongs to another slot, is refused; the others are used.

    Raises:
        SchemaChanged: If it is not a list, or no row of it is a candle of that slot.
    """
    unreadable: tuple[RefusedBar, ...] = ()
    try:
        rows = msgspec.json.decode(body, type=list[_Candle], strict=False)
    except msgspec.DecodeError:
        rows, unreadable = _row_by_row(body, slot)
    foreign = [row for row in rows if (row.s, row.i) != (slot.coin, slot.interval)]
    if foreign and len(foreign) == len(rows):
        row = foreign[0]
        msg = f"candleSnapshot of {slot} holds a row of {row.s}-{row.i}: {_quoted(body)}"
        raise SchemaChanged(msg)
    by_time = {row.t: row for row in rows if row not in foreign}
    candles = _candles([by_time[t] for t in sorted(by_time)])
    refused = [RefusedBar(slot, row.t, f"it is of {row.s}-{row.i}") for row in foreign]
    return Candles(candles.frames, (*candles.refused, *unreadable, *refused))


def decode_funding(body: bytes, coin: str) -> list[Funding]:
    """Read a `fundingHistory` answer, ascending in time.

    Raises:
        SchemaChanged: If it is not a list of rates of that coin.
    """
    rows = _decode(body, list[_FundingRow], "fundingHistory")
    for row in rows:
        if row.coin != coin or not math.isfinite(row.rate):
            msg = f"fundingHistory of {coin} holds {row}: compare it with the venue's documentation"
            raise SchemaChanged(msg)
    return sorted(Funding(row.time, row.rate) for row in rows)


def decode_meta(body: bytes) -> dict[str, bool]:
    """Read a `meta` answer: coin -> whether it is delisted.

    Raises:
        SchemaChanged: If there is no universe of named coins.
    """
    return {row.name: row.delisted for row in _decode(body, _Meta, "meta").universe}


def decode_status(body: bytes) -> int:
    """Read the venue's time, ms UTC, from an `exchangeStatus` answer.

    Raises:
        SchemaChanged: If it has no time.
    """
    status: _Status = _decode(body, _Status, "exchangeStatus")
    return status.time


def decode_frame(text: bytes) -> Frame:
    """Read one WebSocket frame.

    Raises:
        SchemaChanged: If it is no frame, or a channel in use has another shape than
            documented.
    """
    if text.startswith(_GREETING):
        return OtherFrame("")
    envelope = _decode(text, _Envelope, "frame")
    match envelope.channel:
        case "candle":
            return _pushed(bytes(envelope.data))
        case "trades":
            return _trades(_decode(bytes(envelope.data), list[_Trade], "trades"))
        case "subscriptionResponse":
            return Acknowledged(
                _decode(bytes(envelope.data), _Echo, "acknowledgement").subscription
            )
        case "error":
            return ErrorFrame(str(_decode(bytes(envelope.data), object, "error frame")))
        case channel:
            return OtherFrame(channel)


def acknowledges(echo: Acknowledged, wanted: Channel) -> bool:
    """Tell whether an acknowledgement confirms this subscription; it may have more keys."""
    return subscription(wanted).items() <= echo.subscription.items()


def _trades(rows: list[_Trade]) -> Trades:
    sound = [row for row in rows if math.isfinite(row.sz) and row.sz > 0]
    return Trades(tuple(map(_trade, sound)))


def _trade(row: _Trade) -> Trade:
    # `users` is [buyer, seller]; `side` is the side of the taker.
    bought = row.side == "B"
    taker = row.users[0 if bought else 1].lower()
    return Trade(row.coin, row.time, row.tid, row.sz, bought, taker)


def _row_by_row(body: bytes, slot: SlotName) -> tuple[list[_Candle], tuple[RefusedBar, ...]]:
    """Read the rows of a list of candles that can be read, and refuse the others.

    Raises:
        SchemaChanged: If no row can be read.
    """
    rows, unreadable, why = [], [], ""
    for raw in _decode(body, list[msgspec.Raw], "candleSnapshot"):
        try:
            rows.append(msgspec.json.decode(raw, type=_Candle, strict=False))
        except msgspec.DecodeError as e:
            why = str(e)
            unreadable.append(RefusedBar(slot, _time_of(raw), f"it cannot be read ({why})"))
    if not rows:
        msg = f"the venue's candleSnapshot has an unknown shape ({why}): {_quoted(body)}"
        raise SchemaChanged(msg)
    return rows, tuple(unreadable)


def _time_of(raw: msgspec.Raw) -> int:
    """Return the time of a row that cannot be read, ms UTC; 0 if it has none."""
    try:
        return msgspec.json.decode(raw, type=_Timed, strict=False).t
    except msgspec.DecodeError:
        return 0


def _pushed(data: bytes) -> Candles:
    """Read the data of a candle frame; a bar with a name but unreadable values is refused.

    Raises:
        SchemaChanged: If not even the bar's name can be read.
    """
    try:
        candles = _decode(data, _Candle | list[_Candle], "candle frame")
    except SchemaChanged as e:
        try:
            label = msgspec.json.decode(data, type=_Label)
        except msgspec.DecodeError:
            raise e from None
        why = str(e.__cause__)
        slot = SlotName(label.s, label.i)
        return Candles((), (RefusedBar(slot, label.t, f"it cannot be read ({why})"),))
    return _candles(candles if isinstance(candles, list) else [candles])


def _candles(rows: list[_Candle]) -> Candles:
    frames, refused = [], []
    for row in rows:
        slot = SlotName(row.s, row.i)
        bar = Bar(row.t, row.o, row.h, row.l, row.c, row.v, row.n)
        reason = bar.fault()
        if reason is None and not 0 < row.t < _LATEST_MS:
            reason = "its time is no time in ms"
        if reason is None and row.t % INTERVAL_MS.get(row.i, 1):
            reason = f"it does not open on a multiple of {row.i}"
        if reason is None:
            frames.append(CandleFrame(slot, bar))
        else:
            refused.append(RefusedBar(slot, row.t, reason))
    return Candles(tuple(frames), tuple(refused))


def _decode(body: bytes, shape: Any, what: str) -> Any:
    try:
        # Not strict: the venue sends prices as strings.
        return msgspec.json.decode(body, type=shape, strict=False)
    except msgspec.DecodeError as e:
        msg = f"the venue's {what} has an unknown shape ({e}): {_quoted(body)}"
        raise SchemaChanged(msg, what) from e


def _quoted(body: bytes) -> str:
    text = body.decode(errors="replace")
    return text if len(text) <= _QUOTED_CHARS else text[:_QUOTED_CHARS] + "..."
