"""What the stream tells its listener: frames, changes of the connection, and what is not served."""

from typing import NamedTuple

from daemon.hyperliquid.frames import CandleFrame, Channel, Trades


class Connected(NamedTuple):
    """Every subscription is confirmed; frames follow."""


class Disconnected(NamedTuple):
    """The socket is lost; what it would have pushed does not come any more.

    `doubted` are the subscriptions that were not acknowledged: the venue closes a socket for a
    coin that it does not know.
    """

    why: str
    expected: bool = False
    doubted: frozenset[Channel] = frozenset()


class Unserved(NamedTuple):
    """The venue does not serve one subscription; the others go on. It is asked for again."""

    channel: Channel
    why: str


class Served(NamedTuple):
    """The venue serves a subscription that it did not serve before."""

    channel: Channel


StreamEvent = CandleFrame | Trades | Connected | Disconnected | Unserved | Served
