"""Receive the venue's pushes over one socket, and subscribe again after each loss.

The venue closes a socket after 60 s of silence, after about three hours, and sometimes for no
known reason. A socket may also stay open while no more pushes come. Each loss gives the event
`Disconnected`, and later `Connected`. The venue does not repeat the pushes of the time
between: the listener has to fetch the bars that closed in it.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterable
from random import Random
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from daemon.core.clock import VenueClock
from daemon.core.errors import SchemaChanged
from daemon.core.outside_text import printable
from daemon.core.tasks import in_own_task
from daemon.hyperliquid import requests, wire
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.connecting import proxy_for, stream_socket
from daemon.hyperliquid.frames import (
    Acknowledged,
    Candles,
    Channel,
    ErrorFrame,
    Frame,
    RefusedBar,
    Trades,
    TradesOf,
)
from daemon.hyperliquid.rate_limit import Priority, WeightBudget
from daemon.hyperliquid.stream_events import (
    Connected,
    Disconnected,
    Served,
    StreamEvent,
    Unserved,
)
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_PING_S: Final = 15.0
_SILENT_S: Final = 40.0  # two pings without an answer: the socket is given up
_UNACKNOWLEDGED_S: Final = 20.0
_RETRY_S: Final = 60.0  # what the venue refused is asked for again
_LASTED_S: Final = 60.0  # after a connection of this length the delays begin at the first again
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_CLOSE_S: Final = 2.0
_DEATHS: Final = 2  # sockets that a subscription ends alone before it is given up
_BURST, _BURST_PAUSE_S = 20, 0.1
_QUEUE_FRAMES: Final = 1024
CALM_S: Final = 600.0
"""After so many wall seconds without a kind of faulty frame, the next one is logged."""

MOST_SUBSCRIPTIONS: Final = 1000
"""The venue's limit for one address."""

# The venue takes 2000 messages a minute from one address; other programs may send some.
_MESSAGES_PER_MINUTE: Final = 1800


class _Dead(Exception):
    """The socket is open, but no pushes come."""


class CandleStream:
    """Candle frames of some slots, and trades of some coins, for as long as `run` runs.

    Args:
        url: The venue's socket, for example `wss://api.hyperliquid.xyz/ws`.
        clock: Real time. Sockets use it also in a replay at another speed.
        wanted: Slots whose coins exist: for an unknown coin the venue closes the socket.
        trades_of: Coins whose trades are wanted too.
        calm_s: A kind of faulty frame is logged again after so many seconds without one.

    Raises:
        BadInput: If the subscriptions are more than the venue allows.
        ConfigError: If the environment names a proxy that cannot be used.

    Attributes:
        refused: How many bars had impossible numbers, by slot.
        events: Frames and changes of the connection, in order. While the queue is full, the
            socket is not read.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        wanted: Collection[SlotName],
        trades_of: Collection[str] = (),
        *,
        calm_s: float = CALM_S,
    ) -> None:
        self._url, self._clock, self._calm_s = url, clock, calm_s
        self._proxy = proxy_for(url)
        self._wanted: set[Channel] = set()
        self._unsent: set[Channel] = set()  # wanted, and not asked for on the present socket
        self._sends = asyncio.Event()
        self.want([*wanted, *map(TradesOf, trades_of)])
        # In wall time, as sockets are. One limit for all connections counts reconnects too.
        self._messages = WeightBudget(clock, VenueClock(clock), _MESSAGES_PER_MINUTE)
        self.refused: Counter[SlotName] = Counter()
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._heard_at = self._asked_at = 0.0
        self._unacknowledged: set[Channel] = set()
        self._unanswered: set[Channel] = set()  # on the socket before
        self._unserved: set[Channel] = set()
        # The subscription at which the last sockets ended, and those that ended several.
        self._suspect: Channel | None = None
        self._deaths, self._deadly = 0, set[Channel]()
        self._is_whole = False  # whether `Connected` was told of the present socket
        self._odd: dict[str, float] = {}  # kinds of faulty frames, and when the last one came
        self.events: asyncio.Queue[StreamEvent] = asyncio.Queue(_QUEUE_FRAMES)

    def want(self, channels: Iterable[Channel]) -> None:
        """Subscribe to more channels, now and on every later socket.

        Raises:
            BadInput: If the subscriptions are more than the venue allows.
        """
        new = set(channels) - self._wanted
        if (many := len(self._wanted) + len(new)) > MOST_SUBSCRIPTIONS:
            msg = (
                f"{many} subscriptions are more than the {MOST_SUBSCRIPTIONS} that the"
                " venue allows: remove slots"
            )
            raise BadInput(msg)
        self._wanted |= new
        self._unsent |= new
        self._sends.set()

    def unwant(self, channels: Iterable[Channel]) -> None:
        """Ignore what comes of these channels, and subscribe no more to them."""
        for one in channels:
            self._wanted.discard(one)
            for of in (self._unsent, self._unacknowledged, self._unserved, self._deadly):
                of.discard(one)
        self._sends.set()

    async def run(self) -> None:
        """Connect, listen, reconnect; ends only when cancelled."""
        waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        while True:
            began = self._clock.monotonic()
            ended = await in_own_task(self._connection())
            await self.events.put(ended)
            if ended.expected:
                self._deadly.clear()  # they are tried once more
            for one in self._deadly - self._unserved:
                self._unserved.add(one)
                await self.events.put(Unserved(one, "the venue closes the socket for it"))
            if self._clock.monotonic() - began > _LASTED_S:
                waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
            await self._clock.sleep(next(waits))

    async def _connection(self) -> Disconnected:
        """Serve one connection until it ends; return why it ended."""
        ended = Disconnected("the stream ended")
        try:
            # The WebSocket protocol's pings are off: the venue counts only its JSON pings.
            async with (
                stream_socket(
                    self._url,
                    self._proxy,
                    compression=None,
                    ping_interval=None,
                    close_timeout=_CLOSE_S,
                ) as socket,
                asyncio.TaskGroup() as tasks,
            ):
                self._heard_at = self._clock.monotonic()
                self._asked_at = self._heard_at
                self._unsent = self._wanted - self._deadly
                self._unacknowledged, self._is_whole = self._wanted - self._unserved, False
                tasks.create_task(self._subscribe(socket), name="stream-subscribe")
                tasks.create_task(self._keep_alive(socket), name="stream-ping")
                tasks.create_task(self._listen(socket), name="stream-listen")
        except* _Dead as group:
            ended = Disconnected(str(group.exceptions[0]))
        except* ConnectionClosed as group:
            ended = self._closed(group.exceptions[0])
        except* (WebSocketException, OSError, TimeoutError) as group:
            ended = Disconnected(f"{self._url} cannot be reached ({group.exceptions[0]})")
        return ended

    async def _subscribe(self, socket: ClientConnection) -> None:
        while True:
            await self._settle(())  # without any, the socket is kept for what may be wanted later
            for number, channel in enumerate(sorted(self._unsent, key=self._order), start=1):
                if channel not in self._unsent:  # no longer wanted
                    continue
                await self._messages.take(1, Priority.LIVE)
                self._unsent.discard(channel)
                if channel not in self._unserved:
                    self._unacknowledged.add(channel)
                    self._is_whole = False
                self._asked_at = self._clock.monotonic()
                await socket.send(requests.subscribe(channel))
                if number % _BURST == 0:
                    await self._clock.sleep(_BURST_PAUSE_S)
            self._sends.clear()
            if not self._unsent:
                await self._sends.wait()

    async def _keep_alive(self, socket: ClientConnection) -> None:
        retried_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(_PING_S)
            now = self._clock.monotonic()
            if now - self._heard_at > _SILENT_S:
                socket.transport.abort()  # a closing handshake would wait for an answer
                raise _Dead(f"nothing heard for {now - self._heard_at:.0f} s")
            if self._unacknowledged and now - self._asked_at > _UNACKNOWLEDGED_S:
                await self._give_up_unanswered()
            if self._unserved and now - retried_at > _RETRY_S:
                retried_at, self._unsent = now, self._unsent | self._unserved - self._deadly
                self._sends.set()
            await socket.send(requests.PING)

    async def _listen(self, socket: ClientConnection) -> None:
        while True:
            text = await socket.recv(decode=False)
            self._heard_at = self._clock.monotonic()
            try:
                frame = wire.decode_frame(text)
            except SchemaChanged as e:
                self._report("stream.schema_changed", str(e), kind=e.what)
                continue
            await self._take(frame)

    async def _take(self, frame: Frame) -> None:
        match frame:
            case Candles(frames, refused):
                for candle in frames:
                    if candle.slot in self._wanted:
                        await self.events.put(candle)
                for bar in refused:
                    self._refuse(bar)
            case Trades(trades):
                if asked := tuple(t for t in trades if TradesOf(t.coin) in self._wanted):
                    await self.events.put(Trades(asked))
            case Acknowledged():
                await self._acknowledge(frame)
            case ErrorFrame(text):
                await self._take_error(text)
            case _:
                pass  # pongs, greetings, channels that nobody asked for

    def _refuse(self, bar: RefusedBar) -> None:
        text = f"{bar.slot} t={bar.t}: {bar.reason}"
        if bar.slot in self._wanted:
            self.refused[bar.slot] += 1
            self._report("stream.bar_refused", text)
        else:
            text = f"a candle of {printable(text)}, which nobody asked for"
            self._report("stream.schema_changed", text, kind="candle frame")

    def _closed(self, closed: Exception) -> Disconnected:
        if self._unacknowledged:
            # For an unknown coin the venue closes the socket without a close frame or an error.
            self._suspect_one()
            why = f"{closed}, before {_names(self._unacknowledged)} was acknowledged"
            return Disconnected(why, doubted=frozenset(self._unacknowledged))
        # The venue closes every socket after about three hours, and says `Expired`.
        return Disconnected(str(closed), expected="Expired" in str(closed))

    def _order(self, channel: Channel) -> tuple[bool, str]:
        return channel == self._suspect, str(channel)

    def _suspect_one(self) -> None:
        """Find the subscription at which sockets end: the venue confirms them in order.

        It is asked for last. If again and again only it is missing, it is asked for no more.
        """
        if self._unacknowledged == {self._suspect} != self._wanted:
            self._deaths += 1
        else:
            self._suspect, self._deaths = min(self._unacknowledged, key=self._order), 0
        if self._deaths >= _DEATHS and self._suspect is not None:
            self._deadly.add(self._suspect)

    async def _take_error(self, text: str) -> None:
        self._report("stream.refused", text)
        named = wire.named_subscription(text)
        if named and text.startswith(wire.ALREADY_SUBSCRIBED):
            await self._acknowledge(named)
        elif named:
            await self._unserve(self._meant(named), f"the venue refuses it ({text})")

    def _meant(self, echo: Acknowledged) -> set[Channel]:
        waiting = self._unacknowledged | self._unserved
        return {one for one in waiting if wire.acknowledges(echo, one)}

    async def _acknowledge(self, echo: Acknowledged) -> None:
        for one in (meant := self._meant(echo)) & self._unserved:
            self._unserved.discard(one)
            await self.events.put(Served(one))
        await self._settle(meant)

    async def _unserve(self, channels: Collection[Channel], why: str) -> None:
        """Go on without some channels; `why` says what the venue did."""
        for one in set(channels) - self._unserved:
            self._unserved.add(one)
            await self.events.put(Unserved(one, why))
        await self._settle(channels)

    async def _settle(self, channels: Collection[Channel]) -> None:
        """Wait no longer for some channels; tell if these were the last ones."""
        self._unacknowledged -= set(channels)
        if not self._unacknowledged and not self._is_whole:
            self._is_whole = True
            await self.events.put(Connected())

    async def _give_up_unanswered(self) -> None:
        """Go on without the subscriptions that two sockets in a row did not answer alone.

        Raises:
            _Dead: If the socket is to be left: it is the first one, or answered none.
        """
        unanswered = set(self._unacknowledged)
        again, self._unanswered = unanswered <= self._unanswered, unanswered
        if not again or unanswered == self._wanted:
            raise _Dead(f"no acknowledgement for {_names(unanswered)}")
        await self._unserve(unanswered, "the venue does not acknowledge it")

    def _report(self, event: str, text: str, kind: str = "") -> None:
        """Log a faulty frame when its kind begins: there may be one with every frame."""
        now, key = self._clock.monotonic(), f"{event} {kind or text}"
        if now - self._odd.get(key, -math.inf) >= self._calm_s:
            log.warning(event, text=text)
            if len(self._odd) >= _QUEUE_FRAMES:
                self._odd.clear()
        self._odd[key] = now


def _names(channels: Iterable[Channel]) -> str:
    return ", ".join(sorted(map(str, channels)))
