"""A server that plays recorded candles in the venue's own protocol.

The daemon can only be tested against a server that behaves like the venue. So frames come
only with trades, and an unknown coin closes the socket. REST has no bars after the last trade.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self
from weakref import WeakSet

import msgspec
from aiohttp import WSMsgType, web

from daemon.demo import frame_faults
from daemon.demo.fault_script import check_coins
from daemon.demo.faults import (
    Disconnect,
    DroppedKeepalive,
    Expired,
    Fault,
    FaultSchedule,
    Moment,
    NoTrades,
    Refused,
    Slow,
    Stall,
    Touched,
)
from daemon.demo.protocol import (
    PARSE_ERROR,
    Ping,
    Post,
    Subscribe,
    Unsubscribe,
    channel,
    decode_frame,
)
from daemon.demo.recording import Recording
from daemon.demo.streams import Client
from daemon.demo.subscriptions import Subscriptions, error_frame
from daemon.demo.venue import Venue
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput

SILENCE_S = 60.0
_UNKNOWN_COIN_S = 0.12
# Shortest and longest wait between two steps; a step sends all that is due. The shortest
# limits the work at high speeds. Within the longest, a new subscription or speed takes effect.
_STEP_S = (0.004, 0.05)
# The last state of a bar may come this long after its close.
_LATEST_MS = 3_000
_PONG = b'{"channel":"pong"}'


class ReplayExchange:
    """Serves recordings over REST and WebSocket from `start_ms` on, at `speed`.

    Use it as an async context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        clock: Clock,
        *,
        speed: float,
        start_ms: int,
        faults: Sequence[Fault] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Prepare the exchange; `start` opens its port.

        Raises:
            BadInput: If there is no recording, or a fault names an unknown coin.
        """
        if not recordings:
            msg = "the exchange has nothing to replay; give it at least one recording"
            raise BadInput(msg)
        check_coins(faults, {recording.coin for recording in recordings})
        self._faults, self._recordings = FaultSchedule(faults, start_ms), tuple(recordings)
        self._venue = Venue([frame_faults.quietened(r, self._faults) for r in recordings])
        self._clock, self._opened_at = clock, clock.monotonic()
        self._venue_ms, self._at = float(start_ms), clock.monotonic()
        self._speed, self._paused = _positive(speed), False
        self._host, self._port = host, port
        self._clients: set[Client] = set()
        self._used: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._subscriptions = Subscriptions(self._venue, self._faults, self._moment)
        self._runner: web.AppRunner | None = None
        self._pacer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the port and let the venue's time run.

        Raises:
            BadInput: If the port is taken.
        """
        app = web.Application()
        app.router.add_route("*", "/info", self._info)
        app.router.add_get("/ws", self._serve_socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            msg = f"cannot listen on {self._host}:{self._port} ({error.strerror}); choose another"
            raise BadInput(msg) from error
        self._port = int(self._runner.addresses[0][1])
        self._at = self._opened_at = self._clock.monotonic()
        self._pacer = asyncio.create_task(self._pace(), name="replay-pace")

    async def stop(self) -> None:
        """Disconnect every client and close the port.

        Raises:
            Exception: An error of the task that sends the frames.
        """
        for client in tuple(self._clients):
            client.drop()
        if self._runner:
            await self._runner.cleanup()
        if self._pacer:
            self._pacer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pacer

    @property
    def url(self) -> str:
        """The REST address, without the path `/info`."""
        return f"http://{self._host}:{self._port}"

    @property
    def ws_url(self) -> str:
        """The address of the WebSocket."""
        return f"ws://{self._host}:{self._port}/ws"

    @property
    def finished(self) -> bool:
        """True once every recorded bar has closed and was sent."""
        return self.now_ms() >= self._venue.end_ms + _LATEST_MS

    def now_ms(self) -> int:
        """Return the venue's time in ms UTC."""
        elapsed = 0.0 if self._paused else self._clock.monotonic() - self._at
        return int(self._venue_ms + elapsed * 1000 * self._speed)

    @property
    def faults_over(self) -> bool:
        """True once all faults are over."""
        return self._faults.over(self._moment())

    def add_faults(self, faults: Sequence[Fault]) -> None:
        """Add more faults while the exchange runs.

        Raises:
            BadInput: If one names a coin that is not replayed, or its beginning is past.
        """
        check_coins(faults, {recording.coin for recording in self._recordings})
        self._faults.add(faults, after=self._moment())
        if any(isinstance(fault, NoTrades) for fault in faults):
            self.replace_recordings(self._recordings)

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """What is replayed."""
        return self._recordings

    def replace_recordings(self, recordings: Sequence[Recording]) -> None:
        """Replay others from now on, of the same coins; what is past must be the same in them."""
        self._recordings = tuple(recordings)
        self._venue = Venue([frame_faults.quietened(r, self._faults) for r in recordings])
        self._subscriptions.change_venue(self._venue)

    def touched(self) -> list[tuple[Fault, Touched]]:
        """Return each fault with its effect on clients so far, in the order of the faults."""
        frame_faults.count_silenced(self._recordings, self._faults, self.now_ms())
        return self._faults.touched()

    def _moment(self) -> Moment:
        return Moment(self.now_ms(), self._clock.monotonic() - self._opened_at)

    def pause(self) -> None:
        """Stop the venue's clock; requests are still answered."""
        self._anchor()
        self._paused = True

    def resume(self) -> None:
        """Let the venue's clock go on."""
        self._anchor()
        self._paused = False

    def _anchor(self) -> None:
        self._venue_ms, self._at = float(self.now_ms()), self._clock.monotonic()

    async def _info(self, request: web.Request) -> web.Response:
        if request.method != "POST":
            return web.Response(status=405)
        if request.content_type != "application/json":
            text = "Expected request with `Content-Type: application/json`"
            return web.Response(status=415, text=text)
        transport, body = request.transport, await request.read()
        dropped = self._faults.active(DroppedKeepalive, self._moment())
        if dropped and transport in self._used:
            self._faults.touch(dropped, self._moment())
            return _hung_up(transport)
        if slow := self._faults.active(Slow, self._moment()):
            self._faults.touch(slow, self._moment())
            await self._clock.sleep(slow.delay_ms / 1000 / self._speed)
        answer = frame_faults.answer(self._venue.answer, body, self._faults, self._moment())
        if transport:
            self._used.add(transport)
        return web.Response(
            status=answer.status, body=answer.body, content_type=answer.content_type
        )

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if refused := self._faults.active(Disconnect, self._moment()):
            self._faults.touch(refused, self._moment())
            return _hung_up(request.transport)
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:  # gone before the handshake was over
            return socket
        client = Client(socket, transport, self._clock.monotonic(), self._is_stalled)
        self._clients.add(client)
        sender = asyncio.create_task(self._send(client), name="replay-send")
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT or self._receive(client, message.data):
                    continue
                await self._clock.sleep(_UNKNOWN_COIN_S)
                client.drop()
        finally:
            self._clients.discard(client)
            for held in tuple(client.held):
                self._subscriptions.unsubscribe(client, held)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        return socket

    async def _send(self, client: Client) -> None:
        """Send one client's frames in order, so that it gets an acknowledgement before data."""
        while True:
            frame = await client.outbox.get()
            if frame is None:
                await client.socket.close(code=1000, message=b"Expired")
                return
            await client.socket.send_frame(frame, WSMsgType.TEXT)
            client.spoke_at = self._clock.monotonic()

    def _receive(self, client: Client, text: str) -> bool:
        """Serve one frame of a client; return False if the venue closes the socket for it."""
        try:
            frame = decode_frame(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            client.post(error_frame(PARSE_ERROR + text))
            return True
        match frame:
            case Ping():
                client.post(_PONG)
            case Post():
                client.post(self._posted(frame))
            case Subscribe():
                return self._subscriptions.subscribe(client, frame.subscription)
            case Unsubscribe():
                return self._subscriptions.end(client, frame)
        return True

    def _posted(self, frame: Post) -> bytes:
        """Answer a REST request that came over the socket."""
        payload = bytes(frame.request.payload)
        answer = frame_faults.answer(self._venue.answer, payload, self._faults, self._moment())
        response: dict[str, object]
        if frame.request.type != "info" or answer.status in {400, 422}:
            response = {"type": "error", "payload": answer.body.decode(errors="replace")}
        else:
            asked = msgspec.json.decode(frame.request.payload)["type"]
            told = {"type": asked, "data": msgspec.Raw(answer.body)}
            response = {"type": "info", "payload": told}
        return channel("post", msgspec.json.encode({"id": frame.id, "response": response}))

    async def _pace(self) -> None:
        """Push what is due, disconnect clients after a minute without a frame, and sleep."""
        before = Moment(0, -1.0)  # a fault may begin with the replay
        while True:
            at = self._moment()
            self._subscriptions.push(at)
            self._cut_off(before, at)
            before = at
            await self._clock.sleep(self._pause_s(at.now_ms))

    def _cut_off(self, before: Moment, at: Moment) -> None:
        now_s, stalled = self._clock.monotonic(), self._is_stalled()
        ends = self._faults.begins(Disconnect, before, at)
        expires = self._faults.begins(Expired, before, at)
        refuses = self._faults.begins(Refused, before, at)
        for fault in filter(None, (ends, None if stalled else expires)):
            self._faults.touch(fault, at, len(self._clients))
        for client in tuple(self._clients):
            if stalled:  # a stalled socket stays open
                client.spoke_at = now_s
            loses = ends or (refuses and client.has(refuses.coin))
            if loses or now_s - client.spoke_at >= SILENCE_S:
                client.drop()
            elif expires:
                client.post(None)

    def _is_stalled(self) -> bool:
        return bool(self._faults.active(Stall, self._moment()))

    def _pause_s(self, now_ms: int) -> float:
        """Return the wall seconds until the next state of any stream, within bounds."""
        shortest, longest = _STEP_S
        if self._paused:
            return longest
        due_ms = self._subscriptions.next_ms()
        wait_ms = longest * 1000 if due_ms is None else due_ms - now_ms
        return min(longest, max(shortest, wait_ms / 1000 / self._speed))


def _positive(speed: float) -> float:
    if not 0 < speed < float("inf"):
        msg = f"speed must be a number above 0, was {speed}; 1 is real time"
        raise BadInput(msg)
    return speed


def _hung_up(transport: asyncio.Transport | None) -> web.Response:
    """End a connection without an answer."""
    if transport:
        transport.abort()
    return web.Response(status=503)  # never sent
