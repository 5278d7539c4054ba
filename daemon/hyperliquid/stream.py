"""Receive the venue's pushes over one socket, kept alive, subscribed again after each loss.

The venue closes a socket after 60 s of silence, after about three hours, and sometimes for no
known reason; a socket may also stay open and dead. Each loss is told as `Disconnected` and
then `Connected`. Nothing is replayed in between: the listener has to fetch what closed.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterable
from random import Random
from typing import Final, NamedTuple

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from daemon.core.clock import VenueClock
from daemon.core.errors import SchemaChanged
from daemon.core.tasks import in_own_task
from daemon.hyperliquid import wire
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.frames import (
    Acknowledged,
    CandleFrame,
    Candles,
    Channel,
    ErrorFrame,
    Frame,
    Trades,
    TradesOf,
)
from daemon.hyperliquid.rate_limit import Priority, WeightBudget
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_PING_S: Final = 15.0
_SILENT_S: Final = 40.0  # two pings without an answer: the socket is dead
_UNACKNOWLEDGED_S: Final = 20.0
_LASTED_S: Final = 60.0  # after that long a connection counts as good, and the delays start over
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_CLOSE_S: Final = 2.0
_BURST, _BURST_PAUSE_S = 20, 0.1
_QUEUE_FRAMES: Final = 1024
CALM_S: Final = 600.0
"""Without a fault of a frame, after which the next one is a beginning."""

MOST_SUBSCRIPTIONS: Final = 1000
"""The venue's limit for one address."""

# The venue takes 2000 messages a minute, and others behind our address may send some.
_MESSAGES_PER_MINUTE: Final = 1800


class Connected(NamedTuple):
    """Every subscription is confirmed; frames follow."""


class Disconnected(NamedTuple):
    """The socket is gone, and with it all that it would have pushed."""

    why: str
    expected: bool = False


StreamEvent = CandleFrame | Trades | Connected | Disconnected


class _Dead(Exception):
    """The socket is open and of no use."""


class CandleStream:
    """Candle frames of some slots, and trades of some coins, for as long as `run` runs.

    Args:
        url: The venue's socket, for example `wss://api.hyperliquid.xyz/ws`.
        clock: Real time: sockets live in it, also those of a sped-up replay.
        wanted: Slots whose coins are known to exist: the venue answers an unknown one by
            closing the whole socket.
        trades_of: Coins whose trades are wanted too.
        calm_s: What was said of a frame is said again after so long without such a frame.

    Raises:
        BadInput: If they are more than the venue allows.

    Attributes:
        refused: Bars with impossible numbers, by slot.
        events: Frames and changes of the connection, in order. Full means that the reader is
            behind: the socket then waits, and with it the venue.
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
        self._wanted: frozenset[Channel] = frozenset([*wanted, *map(TradesOf, trades_of)])
        if len(self._wanted) > MOST_SUBSCRIPTIONS:
            msg = (
                f"{len(self._wanted)} subscriptions are more than the {MOST_SUBSCRIPTIONS} that the"
                " venue allows: remove slots"
            )
            raise BadInput(msg)
        # In wall time, as sockets are; it outlives them, so that reconnects stay inside it too.
        self._messages = WeightBudget(clock, VenueClock(clock), _MESSAGES_PER_MINUTE)
        self.refused: Counter[SlotName] = Counter()
        self._random = Random()  # noqa: S311 - jitter, no secret
        self._heard_at = 0.0
        self._unacknowledged: set[Channel] = set()
        self._odd: dict[str, float] = {}  # what was said, and when there was last reason to
        self.events: asyncio.Queue[StreamEvent] = asyncio.Queue(_QUEUE_FRAMES)

    async def run(self) -> None:
        """Connect, listen, reconnect; ends only when cancelled."""
        waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
        while True:
            began = self._clock.monotonic()
            await self.events.put(await in_own_task(self._connection()))
            if self._clock.monotonic() - began > _LASTED_S:
                waits = delays(_FIRST_DELAY_S, _LONGEST_DELAY_S, self._random)
            await self._clock.sleep(next(waits))

    async def _connection(self) -> Disconnected:
        """Live through one connection; return why it ended."""
        ended = Disconnected("the stream ended")
        try:
            # Pings of the protocol's own are off: what the venue counts is its JSON ping.
            async with (
                connect(
                    self._url,
                    compression=None,
                    ping_interval=None,
                    close_timeout=_CLOSE_S,
                    proxy=None,
                ) as socket,
                asyncio.TaskGroup() as tasks,
            ):
                self._heard_at = self._clock.monotonic()
                self._unacknowledged = set(self._wanted)
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
        for number, channel in enumerate(sorted(self._wanted, key=str), start=1):
            await self._messages.take(1, Priority.LIVE)
            await socket.send(wire.subscribe(channel))
            if number % _BURST == 0:
                await self._clock.sleep(_BURST_PAUSE_S)

    async def _keep_alive(self, socket: ClientConnection) -> None:
        began = self._clock.monotonic()
        while True:
            await self._clock.sleep(_PING_S)
            now = self._clock.monotonic()
            if now - self._heard_at > _SILENT_S:
                socket.transport.abort()  # a closing handshake would wait for the dead
                raise _Dead(f"nothing heard for {now - self._heard_at:.0f} s")
            if self._unacknowledged and now - began > _UNACKNOWLEDGED_S:
                raise _Dead(f"no acknowledgement for {_names(self._unacknowledged)}")
            await socket.send(wire.PING)

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
                    self.refused[bar.slot] += 1
                    self._report("stream.bar_refused", f"{bar.slot} t={bar.t}: {bar.reason}")
            case Trades(trades):
                if asked := tuple(t for t in trades if TradesOf(t.coin) in self._wanted):
                    await self.events.put(Trades(asked))
            case Acknowledged() if self._unacknowledged:
                self._unacknowledged -= {
                    one for one in self._unacknowledged if wire.acknowledges(frame, one)
                }
                if not self._unacknowledged:
                    await self.events.put(Connected())
            case ErrorFrame(text):
                self._report("stream.refused", text)
            case _:
                pass  # pongs, greetings, channels that nobody asked for

    def _closed(self, closed: Exception) -> Disconnected:
        if self._unacknowledged:
            # An unknown coin looks like this: no close frame, no error, all is gone.
            why = f"{closed}, before {_names(self._unacknowledged)} was acknowledged"
            return Disconnected(why)
        # The venue closes every socket after some three hours, saying so: nothing is wrong.
        return Disconnected(str(closed), expected="Expired" in str(closed))

    def _report(self, event: str, text: str, kind: str = "") -> None:
        """Log a fault when its kind begins: one with every frame must not flood the log."""
        now, key = self._clock.monotonic(), f"{event} {kind or text}"
        if now - self._odd.get(key, -math.inf) >= self._calm_s:
            log.warning(event, text=text)
            if len(self._odd) >= _QUEUE_FRAMES:
                self._odd.clear()
        self._odd[key] = now


def _names(channels: Iterable[Channel]) -> str:
    return ", ".join(sorted(map(str, channels)))
