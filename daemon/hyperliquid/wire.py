"""Read the venue's answers and frames: the only module that knows their JSON.

Prices come as strings, sometimes as numbers; both are read. Candle data comes as one object,
but as an array in the documentation; both are read. A wrong shape raises `SchemaChanged` with
the unexpected text. A bar with impossible numbers is returned as refused, so that the other
bars of the answer can be used. Whatever the bytes are, no other error is raised.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from daemon.core.bars import Bar, Funding
from daemon.core.errors import SchemaChanged
from daemon.core.outside_text import decode_json, printable
from daemon.hyperliquid.frames import (
    Acknowledged,
    CandleFrame,
    Candles,
    ErrorFrame,
    Frame,
    FundingPage,
    OtherFrame,
    RefusedBar,
    Trade,
    Trades,
)
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import INTERVAL_MS, SlotName
from retrain.bar_limits import LARGEST_VOLUME

FUNDING_PAGE_ROWS: Final = 500
"""Most rows of one `fundingHistory` answer."""

ALREADY_SUBSCRIBED, ALREADY_UNSUBSCRIBED = "Already subscribed", "Already unsubscribed"
"""How the error frames begin that in truth confirm a subscription, or its end."""

_GREETING: Final = b"Websocket connection established"
"""The first frame of a connection; no other frame may be plain text."""
_LONGEST_INT: Final = 2**63


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
    universe: list[msgspec.Raw]


class _Dex(msgspec.Struct):
    name: str


class _Status(msgspec.Struct):
    time: int


class _Envelope(msgspec.Struct):
    channel: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Echo(msgspec.Struct):
    subscription: dict[str, Any]
    method: str = ""


def decode_candles(body: bytes, slot: SlotName) -> Candles:
    """Read a `candleSnapshot` answer; return bars ascending in t, each t once.

    A row that cannot be read, or belongs to another slot, is refused; the others are used.

    Raises:
        SchemaChanged: If it is not a list, or no row of it is a candle of that slot.
    """
    unreadable: list[RefusedBar] = []
    try:
        rows = decode_json(body, list[_Candle], strict=False)
    except BadInput:
        raws = _decode(body, list[msgspec.Raw], "candleSnapshot")
        rows, unreadable = _row_by_row(raws, slot)
        if not rows:
            msg = f"the venue's candleSnapshot has an unknown shape ({_first(unreadable)})"
            raise SchemaChanged(f"{msg}: {printable(body)}", "candleSnapshot") from None
    ours, foreign = {}, []
    for row in rows:
        if (row.s, row.i) == slot:
            ours[row.t] = row
        else:
            foreign.append(RefusedBar(slot, _time(row.t), f"it is of {_name(row)}"))
    if foreign and not ours:
        msg = f"candleSnapshot of {slot} holds a row of {_name(rows[0])}: {printable(body)}"
        raise SchemaChanged(msg, "candleSnapshot")
    candles = _candles(ours[t] for t in sorted(ours))
    return Candles(candles.frames, (*candles.refused, *unreadable, *foreign))


def decode_funding(body: bytes, coin: str) -> FundingPage:
    """Read a `fundingHistory` answer, ascending in time; a row that cannot be used is refused.

    Raises:
        SchemaChanged: If it is not a list, or no row of it is a rate of that coin.
    """
    raws = _decode(body, list[msgspec.Raw], "fundingHistory")
    rates, refused = [], []
    for raw in raws:
        try:
            row = decode_json(raw, _FundingRow, strict=False)
        except BadInput as e:
            refused.append(str(e))
            continue
        rate = Funding(row.time, row.rate)
        fault = rate.fault() if row.coin == coin else f"it is of {printable(row.coin, 40)}"
        if fault is None:
            rates.append(rate)
        else:
            refused.append(fault)
    if refused and not rates:
        msg = f"fundingHistory of {coin} holds no usable row ({refused[0]}): {printable(body)}"
        raise SchemaChanged(msg, "fundingHistory")
    return FundingPage(tuple(sorted(rates)), tuple(refused))


def decode_meta(body: bytes) -> dict[str, bool]:
    """Read a `meta` answer: coin -> whether it is delisted. Rows that cannot be read are left out.

    Raises:
        SchemaChanged: If there is no universe of named coins, or it is empty.
    """
    listed = [row for raw in _decode(body, _Meta, "meta").universe if (row := _listed(raw))]
    if not listed:
        msg = f"the venue's meta lists no coins: {printable(body)}"
        raise SchemaChanged(msg, "meta")
    return {row.name: row.delisted for row in listed}


def decode_dexs(body: bytes) -> tuple[str, ...]:
    """Read the names of the builders' dexes from a `perpDexs` answer; null is the venue's own.

    Raises:
        SchemaChanged: If it is no list of named dexes.
    """
    rows: list[_Dex | None] = _decode(body, list[_Dex | None], "perpDexs")
    return tuple(row.name for row in rows if row is not None)


def decode_status(body: bytes) -> int:
    """Read the venue's time, ms UTC, from an `exchangeStatus` answer.

    Raises:
        SchemaChanged: If it has no time.
    """
    status: _Status = _decode(body, _Status, "exchangeStatus")
    if fault := Funding(status.time, 0.0).fault():
        raise SchemaChanged(f"exchangeStatus: {fault}: {printable(body)}", "exchangeStatus")
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
            return _pushed(envelope.data)
        case "trades":
            return _trades(_decode(envelope.data, list[_Trade], "trades"))
        case "subscriptionResponse":
            echo: _Echo = _decode(envelope.data, _Echo, "acknowledgement")
            return Acknowledged(echo.subscription, ends=echo.method == "unsubscribe")
        case "error":
            told = _decode(envelope.data, object, "error frame")
            return ErrorFrame(printable(told if isinstance(told, str) else bytes(envelope.data)))
        case channel:
            return OtherFrame(channel)


def named_subscription(text: str) -> Acknowledged | None:
    """Return the subscription that the text of an error frame quotes; None if it quotes none."""
    try:
        quoted = decode_json(text[max(0, text.find("{")) :], dict[str, Any])
    except BadInput:
        return None
    named = quoted.get("subscription", quoted)
    return Acknowledged(named) if isinstance(named, dict) else None


def _listed(raw: msgspec.Raw) -> _Listed | None:
    try:
        return decode_json(bytes(raw), _Listed, strict=False)  # type: ignore[no-any-return]
    except BadInput:
        return None


def _trades(rows: list[_Trade]) -> Trades:
    return Trades(tuple(_trade(row) for row in rows if _is_sound(row)))


def _is_sound(row: _Trade) -> bool:
    return 0 < row.sz <= LARGEST_VOLUME and Funding(row.time, 0.0).fault() is None


def _trade(row: _Trade) -> Trade:
    # `users` is [buyer, seller]; `side` is the side of the taker.
    bought = row.side == "B"
    buyer, seller = (user.lower() for user in row.users)
    # A trade of an address with itself moves nothing from one to another.
    taker = "" if buyer == seller else buyer if bought else seller
    return Trade(row.coin, row.time, row.tid, row.sz, bought, taker)


def _row_by_row(
    raws: Iterable[msgspec.Raw], slot: SlotName | None = None
) -> tuple[list[_Candle], list[RefusedBar]]:
    """Read the candles that can be read, and refuse the others.

    Without a `slot`, a row that cannot be read must name its own.

    Raises:
        SchemaChanged: If it does not.
    """
    rows, refused = [], []
    for raw in raws:
        try:
            rows.append(decode_json(raw, _Candle, strict=False))
        except BadInput as e:
            t, of = (_time_of(raw), slot) if slot else _label_of(raw)
            refused.append(RefusedBar(of, t, f"it cannot be read ({e})"))
    return rows, refused


def _time_of(raw: msgspec.Raw) -> int:
    """Return the time of a row that cannot be read, ms UTC; 0 if it has none."""
    try:
        return _time(decode_json(raw, _Timed, strict=False).t)
    except BadInput:
        return 0


def _label_of(raw: msgspec.Raw) -> tuple[int, SlotName]:
    label = _decode(raw, _Label, "candle frame")
    return _time(label.t), SlotName(label.s, label.i)


def _time(t: int) -> int:
    """Return a time for a log line, 0 for one that no clock can have."""
    return t if abs(t) < _LONGEST_INT else 0


def _pushed(data: msgspec.Raw) -> Candles:
    """Read the data of a candle frame; a bar with a name but unreadable values is refused.

    Raises:
        SchemaChanged: If not even the bar's name can be read.
    """
    unreadable: list[RefusedBar] = []
    try:
        read = decode_json(data, _Candle | list[_Candle], strict=False)
        rows = read if isinstance(read, list) else [read]
    except BadInput:
        is_list = bytes(data).lstrip().startswith(b"[")
        raws = _decode(data, list[msgspec.Raw], "candle frame") if is_list else [data]
        rows, unreadable = _row_by_row(raws)
    candles = _candles(rows)
    return Candles(candles.frames, (*candles.refused, *unreadable))


def _candles(rows: Iterable[_Candle]) -> Candles:
    frames, refused = [], []
    for row in rows:
        slot = SlotName(row.s, row.i)
        bar = Bar(row.t, row.o, row.h, row.l, row.c, row.v, row.n)
        reason = bar.fault()
        if reason is None and row.t % INTERVAL_MS.get(row.i, 1):
            reason = f"it does not open on a multiple of {row.i}"
        if reason is None:
            frames.append(CandleFrame(slot, bar))
        else:
            refused.append(RefusedBar(slot, _time(row.t), reason))
    return Candles(tuple(frames), tuple(refused))


def _name(row: _Candle) -> str:
    return printable(f"{row.s}-{row.i}", 40)


def _first(refused: list[RefusedBar]) -> str:
    return refused[0].reason if refused else "it is empty"


def _decode(body: bytes | msgspec.Raw, shape: Any, what: str) -> Any:
    try:
        # Not strict: the venue sends prices as strings.
        return decode_json(body, shape, strict=False)
    except BadInput as e:
        msg = f"the venue's {what} has an unknown shape ({e}): {printable(bytes(body))}"
        raise SchemaChanged(msg, what) from e
