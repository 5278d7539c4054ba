"""The venue's JSON as the venue sees it: what clients may ask, and how a candle is written.

The daemon's own reader of this JSON is another module on purpose: a fake server that
shared it would agree with every mistake in it.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Interval = Literal[
    "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M"
]
TimeMs = Annotated[int, Meta(ge=0)]
PARSE_ERROR = "Error parsing JSON into valid websocket request: "


class _Named(msgspec.Struct, frozen=True, rename="camel", tag_field="type"):
    """Root of what is told apart by its `type`."""


class CandleSubscription(_Named, frozen=True, tag="candle"):
    """Candles of one coin at one interval."""

    coin: str
    interval: str


class TradesSubscription(_Named, frozen=True, tag="trades"):
    """Public trades of one coin."""

    coin: str


class BboSubscription(_Named, frozen=True, tag="bbo"):
    """Best bid and offer of one coin."""

    coin: str


class ContextSubscription(_Named, frozen=True, tag="activeAssetCtx"):
    """Mark, oracle and funding estimate of one coin."""

    coin: str


class BookSubscription(_Named, frozen=True, tag="l2Book"):
    """Order book of one coin; the defaults appear in the venue's echo."""

    coin: str
    n_sig_figs: int | None = None
    mantissa: int | None = None
    fast: bool = False


Subscription = (
    CandleSubscription
    | TradesSubscription
    | BboSubscription
    | ContextSubscription
    | BookSubscription
)


class CandleWindow(msgspec.Struct, frozen=True, rename="camel"):
    """Which candles a snapshot asks for."""

    coin: str
    interval: Interval
    start_time: TimeMs
    end_time: TimeMs | None = None


class CandleSnapshot(_Named, frozen=True, tag="candleSnapshot"):
    """Candles by time, the forming one included."""

    req: CandleWindow


class FundingHistory(_Named, frozen=True, tag="fundingHistory"):
    """Settled funding by time."""

    coin: str
    start_time: TimeMs
    end_time: TimeMs | None = None


class Universe(_Named, frozen=True, tag="meta"):
    """The coins of one dex."""

    dex: str | None = None


class SpotUniverse(_Named, frozen=True, tag="spotMeta"):
    """The spot pairs."""


class ExchangeStatus(_Named, frozen=True, tag="exchangeStatus"):
    """The venue's clock."""


Info = CandleSnapshot | FundingHistory | Universe | SpotUniverse | ExchangeStatus


class _Frame(msgspec.Struct, frozen=True, tag_field="method"):
    """Root of what a client may send on the socket."""


class Subscribe(_Frame, frozen=True, tag="subscribe"):
    """Start one stream."""

    subscription: Subscription


class Unsubscribe(_Frame, frozen=True, tag="unsubscribe"):
    """End one stream."""

    subscription: Subscription


class Ping(_Frame, frozen=True, tag="ping"):
    """Ask for a sign of life."""


class PostRequest(msgspec.Struct, frozen=True):
    """A REST request sent over the socket."""

    type: str
    payload: msgspec.Raw


class Post(_Frame, frozen=True, tag="post"):
    """A REST request with the client's own number."""

    id: int
    request: PostRequest


ClientFrame = Subscribe | Unsubscribe | Ping | Post


class Candle(
    msgspec.Struct,
    frozen=True,
    rename={
        "open_ms": "t", "last_ms": "T", "coin": "s", "interval": "i", "open": "o",
        "close": "c", "high": "h", "low": "l", "volume": "v", "trades": "n",
    },
):  # fmt: skip
    """One candle as written on the wire: prices and volume as decimal text."""

    open_ms: int
    last_ms: int
    coin: str
    interval: str
    open: str
    close: str
    high: str
    low: str
    volume: str
    trades: int


class TradeRow(msgspec.Struct, frozen=True):
    """One public trade as written on the wire; `side` B is a taker who bought, A one who sold."""

    coin: str
    side: str
    px: str
    sz: str
    time: int
    hash: str
    tid: int
    users: tuple[str, str]
    """Buyer and seller."""


class FundingRow(msgspec.Struct, frozen=True, rename="camel"):
    """One settled rate as written on the wire."""

    coin: str
    funding_rate: str
    premium: str
    time: int


class ExchangeAnswer(msgspec.Struct, frozen=True):
    """Status and body of one REST answer."""

    status: int
    body: bytes
    content_type: str = "application/json"


decode_frame = msgspec.json.Decoder(ClientFrame).decode
decode_info = msgspec.json.Decoder(Info).decode


def decimal_text(value: float) -> str:
    """Write a float as the shortest decimal that reads back as it, without an exponent."""
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def channel(name: str, data: bytes) -> bytes:
    """Wrap already encoded `data` in a frame of the channel `name`."""
    return b'{"channel":"%s","data":%s}' % (name.encode(), data)
