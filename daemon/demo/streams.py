"""The sockets of the replay exchange's clients, and the channels that are sent to them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from daemon.demo import frame_faults
from daemon.demo.faults import FaultSchedule, Late, Moment, Reorder, Stall, Withhold
from daemon.demo.protocol import Subscription
from daemon.demo.tape import Series
from daemon.demo.trades import TradeGenerator

# A client that leaves so many frames unread is disconnected, as the venue does.
_OUTBOX_FRAMES = 1024


@dataclass(eq=False)
class Client:
    """One client's socket, its subscriptions, and the frames that wait to be sent.

    `spoke_at` is when the last frame was sent to it, monotonic s.
    """

    socket: web.WebSocketResponse
    transport: asyncio.Transport
    spoke_at: float
    is_stalled: Callable[[], bool]
    held: set[Subscription] = field(default_factory=set)
    outbox: asyncio.Queue[bytes | None] = field(
        default_factory=lambda: asyncio.Queue(_OUTBOX_FRAMES)
    )

    def post(self, frame: bytes | None) -> None:
        """Put a frame into the outbox; None closes the socket with `Expired`."""
        if self.is_stalled():
            return
        try:
            self.outbox.put_nowait(frame)
        except asyncio.QueueFull:
            self.drop()

    def has(self, coin: str) -> bool:
        """Say whether it subscribed to anything of a coin, or to anything at all if empty."""
        return any(coin in {"", held.coin} for held in self.held)

    def drop(self) -> None:
        """End the TCP connection without a close frame, as the venue does."""
        self.transport.abort()


@dataclass(eq=False)
class Channel:
    """One channel of candles or trades: its listeners, and how many states were sent."""

    source: Series | TradeGenerator
    coin: str
    faults: FaultSchedule
    position: int = 0
    listeners: set[Client] = field(default_factory=set)
    _due: int = 0  # what `position` would be without a fault
    _overtaken: list[bytes] = field(default_factory=list)

    def skip(self, at: Moment) -> None:
        """Begin with the states after a moment."""
        self.position = self.source.position(self._shown_ms(at))
        self._due = self.source.position(at.now_ms)

    def greeting(self, at: Moment) -> Sequence[bytes]:
        """Return the first frames for a new listener: the forming bar, or the last trades."""
        greeting = self.source.greeting(self._shown_ms(at))
        return frame_faults.frames([greeting], self.coin, self.faults, at) if greeting else ()

    def push(self, at: Moment) -> None:
        """Send the listeners all states since the last push."""
        position = max(self.position, self.source.position(self._shown_ms(at)))
        frames = self._frames(position, at)
        self.position = position
        if stall := self.faults.active(Stall, at):
            self.faults.touch(stall, at, len(frames))
            return
        for frame in frame_faults.frames(frames, self.coin, self.faults, at):
            for client in self.listeners:
                client.post(frame)

    def _shown_ms(self, at: Moment) -> int:
        late = self.faults.active(Late, at, self.coin)
        return at.now_ms - (late.delay_ms if late else 0)

    def _frames(self, position: int, at: Moment) -> list[bytes]:
        is_seen = bool(self.listeners) and not frame_faults.hides(self.coin, self.faults, at)
        if self.faults:
            due, self._due = self._due, self.source.position(at.now_ms)
            if is_seen and (late := self.faults.active(Late, at, self.coin)):
                self.faults.touch(late, at, self._due - due)
        if isinstance(self.source, TradeGenerator):
            return self.source.frames(self.position, position)
        frames = self.source.frames(self.position, position)
        if withheld := self.faults.active(Withhold, at, self.coin):
            whole, frames = frames, self.source.frames(self.position, position, last_states=False)
            self.faults.touch(withheld, at, is_seen * (len(whole) - len(frames)))
        mixed = self.faults.active(Reorder, at, self.coin)
        if not mixed:
            before, self._overtaken = self._overtaken, []
            return before + frames
        waiting = self._overtaken + frames
        pairs = len(waiting) // 2 * 2
        self._overtaken = waiting[pairs:]
        self.faults.touch(mixed, at, is_seen * pairs)
        return [waiting[k ^ 1] for k in range(pairs)]
