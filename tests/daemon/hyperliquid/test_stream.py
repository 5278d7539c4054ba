"""The stream against a real server on a socket, in virtual time: a busy host ends no socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from daemon.core.bars import Bar
from daemon.hyperliquid.frames import CandleFrame, Trade, Trades, TradesOf
from daemon.hyperliquid.odd_frames import CALM_S
from daemon.hyperliquid.stream import CandleStream
from daemon.hyperliquid.stream_events import (
    Connected,
    Disconnected,
    Served,
    StreamEvent,
    Unserved,
)
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.fake_venue import BTC, bar, candle
from tests.virtual_time import LoopClock, in_virtual_time

HOUR = SlotName("BTC", "1h")


@dataclass
class Socket:
    """One connection as the venue sees it."""

    connection: ServerConnection
    received: list[dict[str, Any]] = field(default_factory=list)

    def subscriptions(self) -> list[dict[str, Any]]:
        return [f["subscription"] for f in self.received if f["method"] == "subscribe"]

    async def push(self, b: Bar, slot: SlotName = BTC) -> None:
        await self.send({"channel": "candle", "data": candle(b, slot)})

    async def send(self, frame: object) -> None:
        await self.connection.send(frame if isinstance(frame, str) else json.dumps(frame))

    async def acknowledge(self, subscription: dict[str, Any], method: str = "subscribe") -> None:
        echo = {"fast": False} | dict(reversed(subscription.items()))
        data = {"method": method, "subscription": echo}
        await self.send({"channel": "subscriptionResponse", "data": data})

    def changes(self) -> list[str]:
        """Return what was subscribed to and ended, in order."""
        named = [f for f in self.received if f["method"] != "ping"]
        return [f"{f['method']} {f['subscription'].get('interval', 'trades')}" for f in named]


async def polite(socket: Socket, frame: dict[str, Any]) -> None:
    if frame["method"] == "ping":
        await socket.send({"channel": "pong"})
    else:
        await socket.acknowledge(frame["subscription"], frame["method"])


Answer = Callable[[Socket, dict[str, Any]], Awaitable[None]]


@dataclass
class Rig:
    stream: CandleStream
    sockets: list[Socket] = field(default_factory=list)
    answer: Answer = polite

    async def handle(self, connection: ServerConnection) -> None:
        socket = Socket(connection)
        self.sockets.append(socket)
        await connection.send("Websocket connection established.")
        with suppress(ConnectionClosed):
            async for text in connection:
                socket.received.append(json.loads(text))
                await self.answer(socket, socket.received[-1])

    async def next(self) -> StreamEvent:
        async with asyncio.timeout(1000):
            return await self.stream.events.get()


@asynccontextmanager
async def rig(
    *slots: SlotName,
    answer: Answer = polite,
    trades_of: Collection[str] = (),
    calm_s: float = CALM_S,
) -> AsyncIterator[Rig]:
    made: list[Rig] = []

    async def handle(connection: ServerConnection) -> None:
        await made[0].handle(connection)

    async with serve(handle, "127.0.0.1", 0, compression="deflate") as server:
        port = server.sockets[0].getsockname()[1]
        stream = CandleStream(
            f"ws://127.0.0.1:{port}/ws", LoopClock(), slots or (BTC,), trades_of, calm_s=calm_s
        )
        made.append(Rig(stream, answer=answer))
        task = asyncio.create_task(stream.run())
        try:
            yield made[0]
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@in_virtual_time
async def test_frames_follow_once_every_subscription_is_confirmed() -> None:
    async with rig(BTC, HOUR) as r:
        assert await r.next() == Connected()
        await r.sockets[0].push(bar(0))
        assert await r.next() == CandleFrame(BTC, bar(0))
        intervals = {s["interval"] for s in r.sockets[0].subscriptions()}
        assert intervals == {"5m", "1h"}


@in_virtual_time
async def test_trades_come_over_the_same_socket_and_are_subscribed_anew_with_it() -> None:
    row = {
        "coin": "BTC",
        "side": "A",
        "px": "1",
        "sz": "2",
        "time": 3,
        "tid": 4,
        "users": ["a", "b"],
    }
    async with rig(BTC, trades_of=["BTC"]) as r:
        assert await r.next() == Connected()
        await r.sockets[0].send({"channel": "trades", "data": [row]})
        assert await r.next() == Trades((Trade("BTC", 3, 4, 2.0, False, "b"),))
        r.sockets[0].connection.transport.abort()
        assert isinstance(await r.next(), Disconnected)
        assert await r.next() == Connected()
        kinds = [[s["type"] for s in socket.subscriptions()] for socket in r.sockets]
        assert kinds == [["candle", "trades"]] * 2


@in_virtual_time
async def test_no_compression_is_asked_for() -> None:
    async with rig() as r:
        await r.next()
        request = r.sockets[0].connection.request
        assert request is not None
        assert "Sec-WebSocket-Extensions" not in request.headers


@in_virtual_time
async def test_a_killed_socket_is_reported_and_subscribed_anew() -> None:
    async with rig() as r:
        await r.next()
        r.sockets[0].connection.transport.abort()
        lost = await r.next()
        assert isinstance(lost, Disconnected)
        assert not lost.expected
        assert await r.next() == Connected()
        await r.sockets[1].push(bar(1))
        assert await r.next() == CandleFrame(BTC, bar(1))


@in_virtual_time
async def test_a_socket_that_ends_of_old_age_is_no_trouble() -> None:
    async with rig() as r:
        await r.next()
        await r.sockets[0].connection.close(1000, "Expired")
        lost = await r.next()
        assert isinstance(lost, Disconnected)
        assert lost.expected
        assert await r.next() == Connected()


@in_virtual_time
async def test_pings_keep_a_quiet_socket_alive() -> None:
    async with rig() as r:
        await r.next()
        await asyncio.sleep(120)
        assert len(r.sockets) == 1
        pings = [f for f in r.sockets[0].received if f["method"] == "ping"]
        assert 3 <= len(pings) <= 8
        assert r.stream.events.empty()


@in_virtual_time
async def test_a_socket_that_is_open_and_dead_is_left() -> None:
    async with rig() as r:
        await r.next()

        async def stall(socket: Socket, frame: dict[str, Any]) -> None:
            pass

        r.answer = stall
        lost = await r.next()
        assert isinstance(lost, Disconnected)
        assert "nothing heard" in lost.why
        r.answer = polite
        while await r.next() != Connected():
            pass


@in_virtual_time
async def test_a_venue_that_confirms_only_some_subscriptions_is_left_and_they_are_named() -> None:
    async def half(socket: Socket, frame: dict[str, Any]) -> None:
        if frame.get("subscription", {}).get("interval") != "1h":
            await polite(socket, frame)

    async with rig(BTC, HOUR, answer=half) as r:
        lost = await r.next()
        assert isinstance(lost, Disconnected)
        assert "no acknowledgement for BTC-1h" in lost.why


@in_virtual_time
async def test_a_subscription_that_kills_the_socket_is_named() -> None:
    async def kill(socket: Socket, frame: dict[str, Any]) -> None:
        socket.connection.transport.abort()

    async with rig(answer=kill) as r:
        lost = await r.next()
        assert isinstance(lost, Disconnected)
        assert "before BTC-5m was acknowledged" in lost.why
        assert lost.doubted == {BTC}


@in_virtual_time
async def test_odd_frames_are_logged_once_and_stop_nothing() -> None:
    async with rig() as r:
        await r.next()
        with capture_logs() as logs:
            for _ in range(3):
                await r.sockets[0].send({"channel": "candle", "data": {"t": "?"}})
                await r.sockets[0].send({"channel": "candle", "data": candle(bar(0)) | {"l": "0"}})
                await r.sockets[0].send({"channel": "error", "data": "Already subscribed: {}"})
                await r.sockets[0].send({"channel": "trades", "data": []})
                await r.sockets[0].send('{"channel":"cand')
                await r.sockets[0].send("upstream request timeout")
            await r.sockets[0].push(bar(7), SlotName("ETH", "5m"))  # never asked for
            await r.sockets[0].push(bar(8))
            assert await r.next() == CandleFrame(BTC, bar(8))
        events = [log["event"] for log in logs]
        assert sorted(events) == [
            *("stream.bar_refused", "stream.refused"),
            *("stream.schema_changed", "stream.schema_changed"),
        ]  # one for candles, one for what is no frame at all


@pytest.mark.parametrize(
    "data", [b'"\xff"', b"[" * 10_000, b"9" * 10_000, b'{"s":"\xff"}', b'{"s":"?","i":"5m","t":0}']
)
@pytest.mark.parametrize("channel", [b"candle", b"trades", b"error", b"subscriptionResponse"])
@pytest.mark.parametrize("is_text", [True, False])
@in_virtual_time
async def test_a_frame_that_is_no_text_or_absurd_is_one_line_and_the_next_is_read(
    data: bytes, channel: bytes, *, is_text: bool
) -> None:
    async with rig() as r:
        await r.next()
        with capture_logs() as logs:
            for _ in range(2):
                hostile = b'{"channel":"%b","data":%b}' % (channel, data)
                await r.sockets[0].connection.send(hostile, text=is_text)
            await r.sockets[0].push(bar(8))
            assert await r.next() == CandleFrame(BTC, bar(8))
        assert len(logs) <= 1
        assert all(log["text"].isprintable() and len(log["text"]) < 600 for log in logs)
        if channel in {b"candle", b"trades"}:
            assert [log["event"] for log in logs] == ["stream.schema_changed"]
        assert not r.stream.refused


@in_virtual_time
async def test_an_odd_frame_is_told_of_again_after_a_calm() -> None:
    async with rig(calm_s=20.0) as r:
        await r.next()
        with capture_logs() as logs:
            for pause_s in (0.0, 0.0, 40.0, 0.0):
                await asyncio.sleep(pause_s)
                await r.sockets[0].send({"channel": "candle", "data": {"t": "?"}})
                await r.sockets[0].push(bar(1))
                await r.next()
        assert [log["event"] for log in logs] == ["stream.schema_changed"] * 2


@in_virtual_time
async def test_a_reader_that_is_behind_makes_the_socket_wait_and_loses_nothing() -> None:
    async with rig() as r:
        await r.next()
        many = 5000

        async def flood() -> None:
            for k in range(many):
                await r.sockets[0].push(bar(k))

        task = asyncio.create_task(flood())
        await asyncio.sleep(0.1)
        assert r.stream.events.qsize() <= r.stream.events.maxsize
        seen = [await r.next() for _ in range(many)]
        await task
        frames = [event for event in seen if isinstance(event, CandleFrame)]
        assert frames == [CandleFrame(BTC, bar(k)) for k in range(len(frames))]


@in_virtual_time
async def test_a_port_without_a_venue_is_tried_again_for_ever() -> None:
    stream = CandleStream("ws://127.0.0.1:9/ws", LoopClock(), (BTC,))
    task = asyncio.create_task(stream.run())
    for _ in range(3):
        lost = await asyncio.wait_for(stream.events.get(), 1000)
        assert isinstance(lost, Disconnected)
        assert "cannot be reached" in lost.why
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_more_subscriptions_than_the_venue_allows_are_refused_in_one_sentence() -> None:
    slots = [SlotName(f"C{k}", "5m") for k in range(1001)]
    with pytest.raises(BadInput, match="1001 subscriptions are more than the 1000"):
        CandleStream("ws://127.0.0.1:9/ws", LoopClock(), slots)


@in_virtual_time
async def test_a_refused_subscription_is_told_and_the_others_go_on_until_it_is_served() -> None:
    refused = True

    async def picky(socket: Socket, frame: dict[str, Any]) -> None:
        wanted = frame.get("subscription", {})
        if wanted.get("interval") == "1h" and refused:
            text = f"Invalid subscription {json.dumps(wanted)}"
            await socket.send({"channel": "error", "data": text})
        else:
            await polite(socket, frame)

    async with rig(BTC, HOUR, answer=picky) as r:
        told = [await r.next(), await r.next()]
        assert [type(event) for event in told] == [Unserved, Connected]
        assert isinstance(told[0], Unserved)
        assert told[0].channel == HOUR
        assert "refuses it (Invalid subscription" in told[0].why
        await r.sockets[0].push(bar(0))
        assert await r.next() == CandleFrame(BTC, bar(0))
        refused = False
        assert await r.next() == Served(HOUR)  # asked for again on the same socket
        assert len(r.sockets) == 1


@in_virtual_time
async def test_what_two_sockets_leave_unanswered_alone_is_gone_on_without() -> None:
    async def half(socket: Socket, frame: dict[str, Any]) -> None:
        if frame.get("subscription", {}).get("interval") != "1h":
            await polite(socket, frame)

    async with rig(BTC, HOUR, answer=half) as r:
        assert isinstance(await r.next(), Disconnected)
        assert await r.next() == Unserved(HOUR, "the venue does not acknowledge it")
        assert await r.next() == Connected()


@in_virtual_time
async def test_a_slot_that_is_wanted_later_is_subscribed_on_the_open_socket() -> None:
    async with rig() as r:
        assert await r.next() == Connected()
        r.stream.unwant([BTC])
        r.stream.want([HOUR])
        assert await r.next() == Connected()
        await r.sockets[0].push(bar(0))
        hour = Bar(bar(0).t - bar(0).t % HOUR.interval_ms, 1.0, 1.0, 1.0, 1.0, 1.0, 1)
        await r.sockets[0].push(hour, HOUR)
        assert await r.next() == CandleFrame(HOUR, hour)
        assert len(r.sockets) == 1
        r.sockets[0].connection.transport.abort()
        assert isinstance(await r.next(), Disconnected)
        assert await r.next() == Connected()
        assert [s["interval"] for s in r.sockets[1].subscriptions()] == ["1h"]


@in_virtual_time
async def test_a_stream_of_nothing_is_open_for_what_comes() -> None:
    async with rig() as r:
        r.stream.unwant([BTC])
        assert await r.next() == Connected()
        r.stream.want([BTC])
        assert await r.next() == Connected()


@in_virtual_time
async def test_a_subscription_that_ends_every_socket_is_given_up_and_the_others_go_on() -> None:
    async def deadly(socket: Socket, frame: dict[str, Any]) -> None:
        if frame.get("subscription", {}).get("interval") == "1h":
            socket.connection.transport.abort()
        else:
            await polite(socket, frame)

    quarter = SlotName("BTC", "15m")
    async with rig(BTC, HOUR, quarter, answer=deadly) as r:
        ends = 0
        while isinstance(event := await r.next(), Disconnected):
            ends += 1
        assert event == Unserved(HOUR, "the venue closes the socket for it")
        assert ends <= 4
        assert await r.next() == Connected()
        await r.sockets[-1].push(bar(0))
        assert await r.next() == CandleFrame(BTC, bar(0))
        r.sockets[-1].connection.transport.abort()
        assert isinstance(await r.next(), Disconnected)
        assert await r.next() == Connected()


@in_virtual_time
async def test_what_is_no_longer_wanted_is_not_waited_for() -> None:
    async def half(socket: Socket, frame: dict[str, Any]) -> None:
        if frame.get("subscription", {}).get("interval") != "1h":
            await polite(socket, frame)

    async with rig(BTC, HOUR, answer=half) as r:
        await asyncio.sleep(5)
        r.stream.unwant([HOUR])
        assert await r.next() == Connected()


MINUTE = 80
"""A little more than a minute and a ping, in seconds."""


@in_virtual_time
async def test_what_is_left_is_ended_after_a_minute_and_is_asked_for_anew_after_that() -> None:
    async with rig(BTC, HOUR, trades_of=["BTC"]) as r:
        assert await r.next() == Connected()
        r.stream.leave([HOUR, TradesOf("BTC")])
        await asyncio.sleep(MINUTE)
        [socket] = r.sockets
        assert socket.changes()[3:] == ["unsubscribe 1h", "unsubscribe trades"]
        r.stream.want([HOUR])
        assert await r.next() == Connected()
        assert socket.changes()[5:] == ["subscribe 1h"]
        hour = Bar(bar(0).t - bar(0).t % HOUR.interval_ms, 1.0, 1.0, 1.0, 1.0, 1.0, 1)
        await socket.push(hour, HOUR)
        assert await r.next() == CandleFrame(HOUR, hour)
        assert r.sockets == [socket]


@in_virtual_time
async def test_what_is_wanted_again_within_the_minute_costs_no_message() -> None:
    async with rig(BTC, HOUR) as r:
        assert await r.next() == Connected()
        r.stream.leave([HOUR])
        r.stream.want([HOUR])
        assert await r.next() == Connected(), "what came of it meanwhile was ignored"
        await asyncio.sleep(MINUTE)
        assert r.sockets[0].changes() == ["subscribe 1h", "subscribe 5m"]


async def silent_about_ends(socket: Socket, frame: dict[str, Any]) -> None:
    if frame["method"] != "unsubscribe":
        await polite(socket, frame)


@in_virtual_time
async def test_what_is_wanted_again_while_it_ends_waits_until_the_venue_says_so() -> None:
    async with rig(BTC, HOUR, answer=silent_about_ends) as r:
        assert await r.next() == Connected()
        r.stream.leave([HOUR])
        await asyncio.sleep(MINUTE)
        r.stream.want([HOUR])
        await asyncio.sleep(10)
        [socket] = r.sockets
        assert socket.changes()[2:] == ["unsubscribe 1h"]
        await socket.acknowledge(socket.subscriptions()[0], "unsubscribe")
        assert await r.next() == Connected()
        assert socket.changes()[3:] == ["subscribe 1h"]


@in_virtual_time
async def test_an_end_that_the_venue_never_confirms_costs_the_socket_and_no_channel() -> None:
    async with rig(BTC, HOUR, answer=silent_about_ends) as r:
        assert await r.next() == Connected()
        r.stream.leave([HOUR])
        await asyncio.sleep(MINUTE)
        r.stream.want([HOUR])
        lost = await r.next()
        assert isinstance(lost, Disconnected)
        assert "no acknowledgement for BTC-1h" in lost.why
        assert await r.next() == Connected()
        assert len(r.sockets[1].subscriptions()) == 2


@in_virtual_time
async def test_a_channel_of_a_coin_that_is_listed_no_more_ends_with_the_socket() -> None:
    async with rig(BTC, HOUR) as r:
        assert await r.next() == Connected()
        r.stream.leave([HOUR])
        r.stream.unwant([HOUR])
        await asyncio.sleep(MINUTE)
        assert r.sockets[0].changes() == ["subscribe 1h", "subscribe 5m"]


@pytest.mark.parametrize("text", ["Already subscribed: ", "Already unsubscribed: "])
@in_virtual_time
async def test_an_error_that_says_what_was_asked_for_is_true_is_no_line(text: str) -> None:
    async def sure(socket: Socket, frame: dict[str, Any]) -> None:
        wanted = frame.get("subscription", {})
        if text.lower().split()[1].startswith(frame["method"]) and wanted["interval"] == "1h":
            await socket.send({"channel": "error", "data": text + json.dumps(wanted)})
        else:
            await polite(socket, frame)

    with capture_logs() as logs:
        async with rig(BTC, HOUR, answer=sure) as r:
            assert await r.next() == Connected()
            r.stream.leave([HOUR])
            await asyncio.sleep(MINUTE)
            r.stream.want([HOUR])
            assert await r.next() == Connected()
            changes = ["subscribe 1h", "subscribe 5m", "unsubscribe 1h", "subscribe 1h"]
            assert r.sockets[0].changes() == changes
    assert logs == []
