"""Values read from the venue's messages, and the channels that they come from."""

from collections.abc import Mapping
from typing import NamedTuple

from daemon.core.bars import Bar, Funding
from hyperdrift.slot_name import SlotName


class TradesOf(NamedTuple):
    """The trades channel of a coin."""

    coin: str

    def __str__(self) -> str:
        return f"trades of {self.coin}"


Channel = SlotName | TradesOf


class CandleFrame(NamedTuple):
    """The state of one bar in a push; the push never says that it is the last state."""

    slot: SlotName
    bar: Bar


class RefusedBar(NamedTuple):
    """A bar that was left out, and why."""

    slot: SlotName
    t: int
    reason: str


class Candles(NamedTuple):
    """The bars of an answer or a frame: usable ones and refused ones."""

    frames: tuple[CandleFrame, ...]
    refused: tuple[RefusedBar, ...]


class FundingPage(NamedTuple):
    """The rates of an answer, ascending, and why each of its other rows was left out."""

    rates: tuple[Funding, ...]
    refused: tuple[str, ...]


class Trade(NamedTuple):
    """One trade: `time` in ms UTC, `size` in base units, side and address of the taker.

    The address is empty if the taker traded with itself.
    """

    coin: str
    time: int
    tid: int
    size: float
    taker_bought: bool
    taker: str

    @property
    def signed(self) -> float:
        """Size in base units, negative if the taker sold."""
        return self.size if self.taker_bought else -self.size


class Trades(NamedTuple):
    """A push of trades; the first push after a subscription repeats the last 30 trades."""

    trades: tuple[Trade, ...]


class Acknowledged(NamedTuple):
    """The venue confirms a subscription, or its end; it echoes more keys than were sent."""

    subscription: Mapping[str, object]
    ends: bool = False


class ErrorFrame(NamedTuple):
    """The venue refused a frame that was sent, and keeps the connection open."""

    text: str


class OtherFrame(NamedTuple):
    """A pong, a greeting that is not JSON, or a channel that nobody asked for."""

    channel: str


Frame = Candles | Trades | Acknowledged | ErrorFrame | OtherFrame
