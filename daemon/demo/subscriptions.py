"""Serve the subscriptions of the replay exchange: equal subscriptions share one channel."""

from collections.abc import Callable

import msgspec

from daemon.demo.faults import FaultSchedule, Moment, Refused, Unlisted
from daemon.demo.protocol import (
    CandleSubscription,
    Subscribe,
    Subscription,
    TradesSubscription,
    Unsubscribe,
    channel,
)
from daemon.demo.streams import Channel, Client
from daemon.demo.tape import Series
from daemon.demo.trades import TradeGenerator
from daemon.demo.venue import Venue


class Subscriptions:
    """The subscriptions of all clients.

    Args:
        venue: The venue with the candles and trades.
        faults: The schedule of the faults.
        moment: Returns the present moment.
    """

    def __init__(self, venue: Venue, faults: FaultSchedule, moment: Callable[[], Moment]) -> None:
        self._venue, self._faults, self._moment = venue, faults, moment
        self._channels: dict[Subscription, Channel] = {}

    def change_venue(self, venue: Venue) -> None:
        """Serve another venue from now on; its past must be the same."""
        self._venue = venue
        for wanted, stream in self._channels.items():
            stream.source = self._source(wanted) or stream.source

    def push(self, at: Moment) -> None:
        """Send what is due since the last push."""
        for stream in self._channels.values():
            stream.push(at)

    def next_ms(self) -> int | None:
        """Return when the next state of any channel is due, ms UTC; None if none is."""
        due = (stream.source.next_ms(stream.position) for stream in self._channels.values())
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def end(self, client: Client, frame: Unsubscribe) -> bool:
        """Answer a request to unsubscribe; return False if the venue closes the socket for it.

        Whether it does so for a coin that it does not know was never seen. The worse is played.
        """
        if not self._is_listed(frame.subscription.coin):
            return False
        if frame.subscription not in client.held:
            client.post(error_frame(f"Already unsubscribed: {_text(frame.subscription)}"))
            return True
        self.unsubscribe(client, frame.subscription)
        client.post(channel("subscriptionResponse", msgspec.json.encode(frame)))
        return True

    def subscribe(self, client: Client, wanted: Subscription) -> bool:
        """Serve a subscription; return False if the venue closes the socket for it."""
        if not self._is_listed(wanted.coin):
            return False
        if wanted in client.held:
            client.post(error_frame(f"Already subscribed: {_text(wanted)}"))
            return True
        if refused := self._faults.active(Refused, self._moment(), wanted.coin):
            if not client.is_stalled():  # nobody hears of it then
                self._faults.touch(refused, self._moment())
            client.post(error_frame(f"Invalid subscription {_text(wanted)}"))
            return True
        source = self._source(wanted)
        if source is None and isinstance(wanted, CandleSubscription):
            client.post(error_frame(f"Invalid subscription {_text(wanted)}"))
            return True
        client.held.add(wanted)
        client.post(channel("subscriptionResponse", msgspec.json.encode(Subscribe(wanted))))
        if source:
            self._listen(client, wanted, source)
        return True

    def _is_listed(self, coin: str) -> bool:
        if unlisted := self._faults.active(Unlisted, self._moment(), coin):
            self._faults.touch(unlisted, self._moment())
        return not unlisted and self._venue.knows(coin)

    def _source(self, wanted: Subscription) -> Series | TradeGenerator | None:
        match wanted:
            case CandleSubscription(coin, interval):
                return self._venue.series(coin, interval)
            case TradesSubscription(coin):
                return self._venue.trades(coin)
            case _:
                return None  # it is acknowledged, as at the venue, but there is no data of it

    def _listen(
        self, client: Client, wanted: Subscription, source: Series | TradeGenerator
    ) -> None:
        """Send the client the forming bar or the last trades, and every state after them."""
        at = self._moment()
        if wanted not in self._channels:
            self._channels[wanted] = Channel(source, wanted.coin, self._faults)
            self._channels[wanted].skip(at)
        stream = self._channels[wanted]
        stream.push(at)
        stream.listeners.add(client)
        for frame in stream.greeting(at):
            client.post(frame)

    def unsubscribe(self, client: Client, held: Subscription) -> None:
        """End a subscription of a client without an answer."""
        client.held.discard(held)
        if held in self._channels:
            self._channels[held].listeners.discard(client)
            if not self._channels[held].listeners:
                del self._channels[held]


def error_frame(text: str) -> bytes:
    """Return the frame with which the venue reports an error."""
    return channel("error", msgspec.json.encode(text))


def _text(subscription: Subscription) -> str:
    return msgspec.json.encode(subscription).decode()
