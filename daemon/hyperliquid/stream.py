"""Receive the venue's pushes over one socket, and subscribe again after each loss.

The venue closes a socket after 60 s of silence, after about three hours, and sometimes for no
known reason. A socket may also stay open while no more pushes come. Each loss gives the event
`Disconnected`, and later `Connected`. The venue does not repeat the pushes of the time
between: the listener has to fetch the bars that closed in it.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from random import Random
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from daemon.core.errors import SchemaChanged
from daemon.core.outside_text import printable
from daemon.core.tasks import in_own_task
from daemon.hyperliquid import requests, wire
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.connecting import proxy_for, stream_socket
from daemon.hyperliquid.deadly_channels import DeadlyChannels
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
from daemon.hyperliquid.held_channels import (
    MOST_SUBSCRIPTIONS,
    HeldChannels,
    acknowledges,
    check_many,
)
from daemon.hyperliquid.odd_frames import CALM_S, OddFrames
from daemon.hyperliquid.paced_messages import PacedMessages
from daemon.hyperliquid.stream_events import (
    Connected,
    Disconnected,
    Served,
    StreamEvent,
    Unserved,
)
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_PING_S: Final = 15.0
_SILENT_S: Final = 40.0  # two pings without an answer: the socket is given up
_UNACKNOWLEDGED_S: Final = 20.0
_RETRY_S: Final = 60.0  # what the venue refused is asked for again
_LASTED_S: Final = 60.0  # after a connection of this length the delays begin at the first again
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_CLOSE_S: Final = 2.0
_QUEUE_FRAMES: Final = 1024


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
        self._url, self._clock, self._odd = url, clock, OddFrames(clock, calm_s)
        self._proxy = proxy_for(url)
        self._wanted: set[Channel] = set()
        self._unsent: set[Channel] = set()  # wanted, and not asked for on the present socket
        self._held, self._deadly, self._sends = HeldChannels(), DeadlyChannels(), asyncio.Event()
        self._heard_at = self._asked_at = 0.0
        self._unacknowledged: set[Channel] = set()
        self._is_whole = False  # whether `Connected` was told of the present socket
        self.want([*wanted, *map(TradesOf, trades_of)])
        self._paced = PacedMessages(clock)
        self.refused: Counter[SlotName] = Counter()
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._unanswered: set[Channel] = set()  # on the socket before
        self._unserved: set[Channel] = set()
        self.events: asyncio.Queue[StreamEvent] = asyncio.Queue(_QUEUE_FRAMES)

    def want(self, channels: Iterable[Channel]) -> None:
        """Subscribe to more channels, now and on every later socket.

        Raises:
            BadInput: If the subscriptions are more than the venue allows.
        """
        new = set(channels) - self._wanted
        check_many(len(self._wanted) + len(new))
        self._wanted |= new
        for one in new:
            if self._held.take_back(one):
                self._is_whole = False  # what came of it meanwhile was ignored
                if not self._held.is_confirmed(one):
                    self._unacknowledged.add(one)
                continue
            self._unsent.add(one)
            if one in self._held.ending:  # it is asked for as soon as that is confirmed
                self._unacknowledged.add(one)
                self._asked_at = self._clock.monotonic()
        self._sends.set()

    def leave(self, channels: Iterable[Channel]) -> None:
        """Ignore what comes of these channels, and end their subscriptions after a minute."""
        now_s = self._clock.monotonic()
        for one in set(channels) & self._wanted:
            self._ignore(one)
            self._held.leave(one, now_s)
        self._sends.set()

    def unwant(self, channels: Iterable[Channel]) -> None:
        """Ignore what comes of these channels; their subscriptions end with the socket.

        For coins that the venue lists no more: it may close the socket for their names.
        """
        for one in channels:
            self._ignore(one)
            self._held.forget(one)
        self._sends.set()

    def _ignore(self, channel: Channel) -> None:
        self._deadly.found.discard(channel)
        for of in (self._wanted, self._unsent, self._unacknowledged, self._unserved):
            of.discard(channel)

    async def run(self) -> None:
        """Connect, listen, reconnect; ends only when cancelled."""
        waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        while True:
            began = self._clock.monotonic()
            ended = await in_own_task(self._connection())
            await self.events.put(ended)
            if ended.expected:
                self._deadly.found.clear()  # they are tried once more
            for one in self._deadly.found - self._unserved:
                self._unserved.add(one)
                await self.events.put(Unserved(one, "the venue closes the socket for it"))
            if self._clock.monotonic() - began > _LASTED_S:
                waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
            await self._clock.sleep(next(waits))

    async def _connection(self) -> Disconnected:
        """Serve one connection until it ends; return why it ended."""
        ended = Disconnected("the stream ended")
        try:
            async with (
                stream_socket(self._url, self._proxy, close_timeout=_CLOSE_S) as socket,
                asyncio.TaskGroup() as tasks,
            ):
                self._heard_at = self._asked_at = self._clock.monotonic()
                self._unsent = self._wanted - self._deadly.found
                self._held.renew()
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
            self._sends.clear()
            await self._settle(())  # without any, the socket is kept for what may be wanted later
            await self._end_left(socket)
            due = self._unsent - self._held.ending
            async for channel in self._paced.each(sorted(due, key=self._deadly.order)):
                if channel not in self._unsent:  # no longer wanted
                    continue
                self._unsent.discard(channel)
                self._held.asked.add(channel)
                if channel not in self._unserved:
                    self._unacknowledged.add(channel)
                    self._is_whole = False
                self._asked_at = self._clock.monotonic()
                await socket.send(requests.subscribe(channel))
            if not self._unsent - self._held.ending:
                await self._sends.wait()

    async def _end_left(self, socket: ClientConnection) -> None:
        """Unsubscribe from what is not wanted any more."""
        is_full = len(self._held.asked | self._wanted) > MOST_SUBSCRIPTIONS
        due = self._held.due(self._clock.monotonic(), at_once=is_full)
        async for channel in self._paced.each(due):
            if self._held.end(channel):
                await socket.send(requests.unsubscribe(channel))

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
                retried_at, self._unsent = now, self._unsent | self._unserved - self._deadly.found
                self._sends.set()
            await socket.send(requests.PING)
            await self._end_left(socket)

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
        elif bar.slot not in self._held.asked:
            text = f"a candle of {printable(text)}, which nobody asked for"
            self._report("stream.schema_changed", text, kind="candle frame")

    def _closed(self, closed: Exception) -> Disconnected:
        if self._unacknowledged:
            # For an unknown coin the venue closes the socket without a close frame or an error.
            self._deadly.socket_ended(self._unacknowledged, self._wanted)
            why = f"{closed}, before {_names(self._unacknowledged)} was acknowledged"
            return Disconnected(why, doubted=frozenset(self._unacknowledged))
        # The venue closes every socket after about three hours, and says `Expired`.
        return Disconnected(str(closed), expected="Expired" in str(closed))

    async def _take_error(self, text: str) -> None:
        named = wire.named_subscription(text)
        ends = text.startswith(wire.ALREADY_UNSUBSCRIBED)
        is_so = named and (ends or text.startswith(wire.ALREADY_SUBSCRIBED))
        if named and is_so and await self._acknowledge(named._replace(ends=ends)):
            return
        self._report("stream.refused", text)
        if named and not self._end(named):
            for one in (meant := self._meant(named)):
                self._held.forget(one)
            await self._unserve(meant, f"the venue refuses it ({text})")

    def _meant(self, echo: Acknowledged) -> set[Channel]:
        waiting = self._unacknowledged | self._unserved
        return {one for one in waiting if acknowledges(echo, one)}

    def _end(self, echo: Acknowledged) -> bool:
        self._sends.set()  # it may be wanted again
        return self._held.ended(echo)

    async def _acknowledge(self, echo: Acknowledged) -> bool:
        """Take what the venue confirms; return whether it was asked for."""
        if echo.ends:
            return self._end(echo)
        self._held.confirm(echo)
        for one in (meant := self._meant(echo)) & self._unserved:
            self._unserved.discard(one)
            await self.events.put(Served(one))
        await self._settle(meant)
        return bool(meant)

    async def _unserve(self, channels: Collection[Channel], why: str) -> None:
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
        if self._odd.begins(f"{event} {kind or text}"):
            log.warning(event, text=text)


def _names(channels: Iterable[Channel]) -> str:
    return ", ".join(sorted(map(str, channels)))
