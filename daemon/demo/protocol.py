"""The venue's JSON on the side of the venue: requests of clients, and answers to them.

The daemon reads this JSON by a module of its own, on purpose: in a shared module no test
would find a mistake.
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
    """Root of messages whose kind is their field `type`."""


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
    """Order book of one coin; the venue's acknowledgement has the default values too."""

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
    """The candles that a snapshot asks for; times are in ms UTC."""

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


class MarketContexts(_Named, frozen=True, tag="metaAndAssetCtxs"):
    """The coins of one dex, and the day's figures of each."""

    dex: str | None = None


class PerpDexs(_Named, frozen=True, tag="perpDexs"):
    """The builders' dexes."""


class SpotUniverse(_Named, frozen=True, tag="spotMeta"):
    """The spot pairs."""


class ExchangeStatus(_Named, frozen=True, tag="exchangeStatus"):
    """The venue's clock."""


Info = (
    CandleSnapshot
    | FundingHistory
    | Universe
    | MarketContexts
    | PerpDexs
    | SpotUniverse
    | ExchangeStatus
)


class _Frame(msgspec.Struct, frozen=True, tag_field="method"):
    """Root of the frames that a client may send on the socket."""


class Subscribe(_Frame, frozen=True, tag="subscribe"):
    """Start one stream."""

    subscription: Subscription


class Unsubscribe(_Frame, frozen=True, tag="unsubscribe"):
    """End one stream."""

    subscription: Subscription


class Ping(_Frame, frozen=True, tag="ping"):
    """Ask for a pong."""


class PostRequest(msgspec.Struct, frozen=True):
    """A REST request sent over the socket."""

    type: str
    payload: msgspec.Raw


class Post(_Frame, frozen=True, tag="post"):
    """A REST request over the socket, with a number that the client chose."""

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
    """One candle as sent: prices and volume as decimal text, times in ms UTC."""

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
    """One public trade as sent; `side` is B if the taker bought, A if the taker sold."""

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
    """One settled rate as sent; `time` is in ms UTC."""

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
    """Return the shortest decimal text, without an exponent, that gives the same float again."""
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def channel(name: str, data: bytes) -> bytes:
    """Return a frame of the channel `name` with encoded `data`."""
    return b'{"channel":"%s","data":%s}' % (name.encode(), data)
