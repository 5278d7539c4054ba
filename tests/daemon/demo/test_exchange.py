import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from daemon.demo.demo import serve_exchange
from daemon.demo.exchange import ReplayExchange
from hyperdrift.clock import SystemClock
from hyperdrift.errors import BadInput
from tests.daemon.demo.markets import MINUTES_5, START_MS, as_recorded, market

CANDLES = {"type": "candle", "coin": "BTC", "interval": "5m"}
RECORDING = market(200, quiet=(60, 61))
NOW_MS = START_MS + 50 * MINUTES_5
SPEED = 100.0


class HandClock:
    """A clock that a test moves by hand; a sleep is one short real pause."""

    def __init__(self) -> None:
        self.s = 0.0

    def now_ms(self) -> int:
        return round(self.s * 1000)

    def monotonic(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.001))


class Bench:
    """An exchange under a hand-moved clock, and one raw client of it."""

    def __init__(self, exchange: ReplayExchange, clock: HandClock, ws: ClientConnection) -> None:
        self.exchange, self.clock, self.ws = exchange, clock, ws

    async def send(self, frame: object) -> None:
        await self.ws.send(frame if isinstance(frame, str) else json.dumps(frame))

    async def said(self) -> list[dict[str, Any]]:
        """Everything sent up to now: the pong is the end, as one queue keeps the order."""
        await asyncio.sleep(0.01)  # longer than a sleep of the pacing task
        await self.send({"method": "ping"})
        frames = []
        while (frame := json.loads(await self.ws.recv())) != {"channel": "pong"}:
            frames.append(frame)
        return frames

    async def after(self, venue_s: float) -> list[dict[str, Any]]:
        self.clock.s += venue_s / SPEED
        return await self.said()

    async def ask(self, body: object) -> Any:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.exchange.url}/info", json=body) as answer,
        ):
            return await answer.json()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = HandClock()
    async with (
        ReplayExchange([RECORDING], clock, speed=SPEED, start_ms=NOW_MS) as exchange,
        connect(exchange.ws_url, ping_interval=None) as ws,
    ):
        yield Bench(exchange, clock, ws)


async def ended(ws: ClientConnection) -> int | None:
    """Read to the end and return the close code."""
    async with asyncio.timeout(60):
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await ws.recv()
    return ws.close_code


def subscribe(subscription: object) -> dict[str, object]:
    return {"method": "subscribe", "subscription": subscription}


async def test_the_answer_to_a_subscription_precedes_its_data(bench: Bench) -> None:
    bench.clock.s += 100 / SPEED
    await bench.send(subscribe({"interval": "5m", "coin": "BTC", "type": "candle"}))
    answer, data = await bench.said()
    assert answer == {"channel": "subscriptionResponse", "data": subscribe(CANDLES)}
    assert data["data"]["t"] == NOW_MS


async def test_frames_grow_and_end_as_recorded(bench: Bench) -> None:
    await bench.send(subscribe(CANDLES))
    await bench.said()
    frames = [frame["data"] for _ in range(160) for frame in await bench.after(10)]
    last = {frame["t"]: frame for frame in frames}
    assert list(last) == [NOW_MS + bar * MINUTES_5 for bar in range(6)]
    full = [as_recorded(RECORDING, bar) for bar in range(50, 55)]
    assert list(last.values())[:5] == full
    assert 3 <= len(frames) / 5.3 <= 5
    for before, after in pairwise(frames):
        assert (before["t"], before["n"]) < (after["t"], after["n"])


async def test_a_bar_without_trades_is_silent(bench: Bench) -> None:
    await bench.send(subscribe(CANDLES))
    times = {f["data"].get("t") for _ in range(14) for f in await bench.after(300)}
    assert NOW_MS + 9 * MINUTES_5 in times
    assert not times & {NOW_MS + 10 * MINUTES_5, NOW_MS + 11 * MINUTES_5}
    assert NOW_MS + 12 * MINUTES_5 in times


async def test_rest_and_stream_show_the_same_forming_bar(bench: Bench) -> None:
    await bench.send(subscribe(CANDLES))
    await bench.said()
    frames = await bench.after(150)
    rows = await bench.ask({"type": "candleSnapshot", "req": {**CANDLES, "startTime": 0}})
    assert rows[-1] == frames[-1]["data"]
    assert rows[:-1] == [as_recorded(RECORDING, bar) for bar in range(50)]


async def test_a_longer_interval_is_streamed_from_the_same_recording(bench: Bench) -> None:
    await bench.send(subscribe({**CANDLES, "interval": "1h"}))
    frames = [f["data"] for _ in range(60) for f in await bench.after(60) if "t" in f["data"]]
    assert {frame["i"] for frame in frames} == {"1h"}
    hour = RECORDING.resampled("1h")
    last = {frame["t"]: frame for frame in frames}[NOW_MS - 2 * MINUTES_5]
    assert last == as_recorded(hour, 4)


async def test_an_unknown_coin_ends_the_socket_without_a_close_frame(bench: Bench) -> None:
    await bench.send(subscribe(CANDLES))
    await bench.send(subscribe({**CANDLES, "coin": "btc"}))
    assert await ended(bench.ws) == 1006
    assert bench.ws.protocol.close_rcvd is None


async def test_a_minute_of_silence_ends_the_socket_but_a_pong_is_a_sign_of_life(
    bench: Bench,
) -> None:
    for _ in range(3):
        bench.clock.s += 40
        await bench.said()
    bench.clock.s += 59
    await bench.said()
    bench.clock.s += 61
    assert await ended(bench.ws) == 1006


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        '{"method":"dance"}',
        '{"method":"subscribe","subscription":{"type":"candle","coin":["BTC"],"interval":"5m"}}',
        '{"method":"subscribe","subscription":{"type":"nope","coin":"BTC"}}',
        '{"method":"post","request":{"type":"info","payload":{"type":"meta"}}}',
    ],
)
async def test_a_frame_that_cannot_be_read_is_quoted_back(bench: Bench, text: str) -> None:
    await bench.send(text)
    assert await bench.said() == [
        {
            "channel": "error",
            "data": f"Error parsing JSON into valid websocket request: {text}",
        }
    ]


async def test_subscribing_twice_or_leaving_twice_is_an_error_that_closes_nothing(
    bench: Bench,
) -> None:
    for _ in range(2):
        await bench.send(subscribe(CANDLES))
    for _ in range(2):
        await bench.send({"method": "unsubscribe", "subscription": CANDLES})
    frames = await bench.said()
    text = '{"type":"candle","coin":"BTC","interval":"5m"}'
    assert frames[0]["data"]["method"] == "subscribe"
    assert frames[1] == {"channel": "error", "data": f"Already subscribed: {text}"}
    assert frames[2]["data"] == {"method": "unsubscribe", "subscription": CANDLES}
    assert frames[3] == {"channel": "error", "data": f"Already unsubscribed: {text}"}
    assert await bench.after(900) == []


async def test_leaving_what_the_venue_does_not_know_ends_the_socket(bench: Bench) -> None:
    unknown = {**CANDLES, "coin": "NOPE"}
    await bench.send({"method": "unsubscribe", "subscription": unknown})
    assert await ended(bench.ws) == 1006


async def test_an_echo_carries_the_defaults_of_the_venue(bench: Bench) -> None:
    await bench.send(subscribe({"type": "l2Book", "coin": "BTC"}))
    await bench.send(subscribe({"type": "bbo", "coin": "BTC"}))
    await bench.send(subscribe({**CANDLES, "interval": "7m"}))
    book, best, refused = await bench.said()
    defaults = {"nSigFigs": None, "mantissa": None, "fast": False}
    assert book["data"]["subscription"] == {"type": "l2Book", "coin": "BTC", **defaults}
    assert best["data"]["subscription"] == {"type": "bbo", "coin": "BTC"}
    assert refused["data"].startswith("Invalid subscription {")


async def test_a_post_is_answered_like_rest(bench: Bench) -> None:
    window = {"type": "candleSnapshot", "req": {**CANDLES, "startTime": NOW_MS - 1}}
    for number, payload in enumerate((window, {"type": "nope"}), start=7):
        request = {"type": "info", "payload": payload}
        await bench.send({"method": "post", "id": number, "request": request})
    good, bad = await bench.said()
    assert good["data"]["id"] == 7
    rows = [as_recorded(RECORDING, 49)]
    assert good["data"]["response"] == {
        "type": "info",
        "payload": {"type": "candleSnapshot", "data": rows},
    }
    assert bad["data"]["response"]["type"] == "error"


async def test_every_listener_gets_every_frame(bench: Bench) -> None:
    await bench.send(subscribe(CANDLES))
    await bench.said()
    async with connect(bench.exchange.ws_url) as ws:
        other = Bench(bench.exchange, bench.clock, ws)
        await other.send(subscribe(CANDLES))
        await other.said()
        bench.clock.s += 900 / SPEED
        assert await bench.said() == await other.said()
    assert await bench.after(900)


async def test_errors_of_http_look_like_those_of_the_venue(bench: Bench) -> None:
    url = f"{bench.exchange.url}/info"
    async with aiohttp.ClientSession() as http:
        async with http.get(url) as answer:
            assert (answer.status, await answer.text()) == (405, "")
        async with http.post(url, data=b"{}", headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 415
            assert await answer.text() == "Expected request with `Content-Type: application/json`"
        async with http.post(url, json={"type": "nope"}) as answer:
            assert (answer.status, answer.content_type) == (422, "text/plain")
        body = {"type": "fundingHistory", "coin": "NOPE", "startTime": 0}
        async with http.post(url, json=body) as answer:
            assert (answer.status, await answer.text()) == (500, "null")


async def test_time_stands_while_paused_and_runs_at_the_speed_set(bench: Bench) -> None:
    exchange, clock = bench.exchange, bench.clock
    clock.s += 1
    assert exchange.now_ms() == NOW_MS + 1000 * SPEED
    exchange.pause()
    clock.s += 5
    assert exchange.now_ms() == NOW_MS + 1000 * SPEED
    exchange.resume()
    clock.s += 2
    assert exchange.now_ms() == NOW_MS + 3000 * SPEED
    assert not exchange.finished
    clock.s += 150 * 3 + 10
    assert exchange.finished


async def test_at_three_thousand_times_real_time_no_bar_is_lost() -> None:
    async with ReplayExchange([RECORDING], SystemClock(), speed=3000, start_ms=START_MS) as fast:
        async with connect(fast.ws_url) as ws:
            await ws.send(json.dumps(subscribe(CANDLES)))
            times: set[Any] = set()
            while len(times) < 10:
                frame = json.loads(await asyncio.wait_for(ws.recv(), 60))
                times.add(frame["data"].get("t"))
        times.discard(None)
        assert max(times) - min(times) == (len(times) - 1) * MINUTES_5


async def test_a_taken_port_is_refused_with_a_sentence(bench: Bench) -> None:
    port = int(bench.exchange.url.rpartition(":")[2])
    with pytest.raises(BadInput, match=f"cannot listen on 127.0.0.1:{port}"):
        await serve_exchange([RECORDING], SystemClock(), port=port, speed=1, history=50)
    with pytest.raises(BadInput, match="nothing to replay"):
        ReplayExchange([], SystemClock(), speed=1, start_ms=0)
    with pytest.raises(BadInput, match="speed must be"):
        ReplayExchange([RECORDING], SystemClock(), speed=0, start_ms=0)


async def test_trades_begin_with_a_replay_and_add_up_to_the_candles(bench: Bench) -> None:
    trades = {"type": "trades", "coin": "BTC"}
    await bench.send(subscribe(trades))
    answer, replay = await bench.said()
    assert answer["data"]["subscription"] == trades
    assert len(replay["data"]) == 30
    assert all(trade["time"] < NOW_MS for trade in replay["data"])
    live = [t for _ in range(40) for frame in await bench.after(10) for t in frame["data"]]
    volume = sum(float(trade["sz"]) for trade in live if trade["time"] < NOW_MS + MINUTES_5)
    assert volume == pytest.approx(RECORDING.volume[50])
    async with connect(bench.exchange.ws_url) as ws:
        other = Bench(bench.exchange, bench.clock, ws)
        await other.send(subscribe(trades))
        assert (await other.said())[1]["data"] == live[-30:]
