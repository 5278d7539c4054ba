"""The values that the venue's messages are read into, and the channels that they come from."""

from collections.abc import Mapping
from typing import NamedTuple

from daemon.core.bars import Bar
from hyperdrift.slot_name import SlotName


class TradesOf(NamedTuple):
    """The trades channel of a coin."""

    coin: str

    def __str__(self) -> str:
        return f"trades of {self.coin}"


Channel = SlotName | TradesOf


class CandleFrame(NamedTuple):
    """The state of one bar as a push showed it; never known to be final."""

    slot: SlotName
    bar: Bar


class RefusedBar(NamedTuple):
    """A bar that was left out, and why."""

    slot: SlotName
    t: int
    reason: str


class Candles(NamedTuple):
    """What an answer or a frame held: usable bars and refused ones."""

    frames: tuple[CandleFrame, ...]
    refused: tuple[RefusedBar, ...]


class Trade(NamedTuple):
    """One trade: `time` in ms UTC, `size` in base units, the side and address of who crossed."""

    coin: str
    time: int
    tid: int
    size: float
    taker_bought: bool
    taker: str

    @property
    def signed(self) -> float:
        """Size, negative where the taker sold."""
        return self.size if self.taker_bought else -self.size


class Trades(NamedTuple):
    """A push of trades; the first after a subscription repeats the last 30."""

    trades: tuple[Trade, ...]


class Acknowledged(NamedTuple):
    """The venue confirms a subscription; it echoes more keys than were sent."""

    subscription: Mapping[str, object]


class ErrorFrame(NamedTuple):
    """The venue refused a frame of ours and keeps the connection open."""

    text: str


class OtherFrame(NamedTuple):
    """A pong, a greeting that is not JSON, or a channel that nobody asked for."""

    channel: str


Frame = Candles | Trades | Acknowledged | ErrorFrame | OtherFrame
