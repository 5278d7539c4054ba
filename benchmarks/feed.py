"""Follow 200 coins on the replay exchange; then race the venue's own client over one tape.

python -m benchmarks.feed [--coins 200] [--minutes 30] [--speed 10] [--json]

The exchange runs in a process of its own and replays 1m recordings, twenty states for a bar of
5m. At ten times real speed that is about the frame rate of the venue in real time, and ten times
its REST calls. The period contains a full hour, when funding is settled: the worst case.
The race sends the same frames, as fast as they are read, to both clients, one after the other.
"""

import argparse
import asyncio
import json
import logging
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from hyperliquid.websocket_manager import WebsocketManager
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from daemon.core import logs
from daemon.core.clock import VenueClock
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate, load
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.hyperliquid.stream_events import Disconnected
from daemon.market_data.feed import Feed
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import MINUTE_MS, SlotName

HOUR_MS = 60 * MINUTE_MS
STEP = 5 * MINUTE_MS
BEGIN = 1_750_003_200_000  # a full hour
FRAMES_A_BAR, RACE_FRAMES = 20, 100_000
_ROUND_MS = 5 * MINUTE_MS  # 200 slots x 21 of 1000 a minute take 4.2
LIMIT_LAG_S, LIMIT_CORE, LIMIT_MIB = 90.0, 0.40, 600
_COUNTED = ("confirmed", "provisional", "filled", "revised", "refused")


def slots(coins: int) -> tuple[SlotName, ...]:
    return tuple(SlotName(f"C{k:03}", "5m") for k in range(coins))


def recordings(coins: int, data: str | None) -> list[Any]:
    if data:
        tape = load(data)[0]
        from dataclasses import replace  # noqa: PLC0415

        return [replace(tape, coin=slot.coin) for slot in slots(coins)]
    first = BEGIN - 3 * HOUR_MS
    return [
        generate(360, MINUTE_MS, k, start_ms=first, coin=slot.coin)
        for k, slot in enumerate(slots(coins))
    ]


async def play(coins: int, speed: float, data: str | None) -> None:
    """Run the exchange: print its addresses, then replay until killed."""
    tapes = recordings(coins, data)
    begin = BEGIN - 28 * MINUTE_MS + 1000
    if data:
        begin = int(tapes[0].t[len(tapes[0]) // 2]) // HOUR_MS * HOUR_MS - 28 * MINUTE_MS + 1000
    async with ReplayExchange(tapes, SystemClock(), speed=speed, start_ms=begin) as exchange:
        print(json.dumps({"rest": exchange.url, "stream": exchange.ws_url}), flush=True)
        await asyncio.Event().wait()


def tape(coins: int) -> list[bytes]:
    """Return the frames of the race: for every coin, bars that grow frame by frame."""
    names, frames = slots(coins), []
    for bar in range(RACE_FRAMES // (coins * FRAMES_A_BAR)):
        for n in range(1, FRAMES_A_BAR + 1):
            for slot in names:
                t, price = BEGIN + bar * STEP, 60_000 + bar + n
                candle = {
                    "t": t,
                    "T": t + STEP - 1,
                    "s": slot.coin,
                    "i": "5m",
                    "o": "60000.0",
                    "c": f"{price}.0",
                    "h": f"{price}.0",
                    "l": "60000.0",
                    "v": f"{n * 1.37:.5f}",
                    "n": n * 9,
                }
                frames.append(json.dumps({"channel": "candle", "data": candle}).encode())
    return frames


async def send_at_once(coins: int) -> None:
    """Acknowledge every subscription, then send the whole tape as fast as it is read."""
    wire = bytearray()
    for frame in tape(coins):
        wire += b"\x81\x7e" + len(frame).to_bytes(2, "big") + frame

    async def handle(connection: ServerConnection) -> None:
        asked = 0
        with suppress(ConnectionClosed):
            await answer(connection, asked)

    async def answer(connection: ServerConnection, asked: int) -> None:
        async for text in connection:
            frame = json.loads(text)
            if frame["method"] != "subscribe":
                continue
            await connection.send(json.dumps({"channel": "subscriptionResponse", "data": frame}))
            asked += 1
            if asked < coins:
                continue
            for at in range(0, len(wire), 1 << 16):
                connection.transport.write(bytes(wire[at : at + (1 << 16)]))
                await connection.drain()
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        print(json.dumps({"rest": f"http://127.0.0.1:{port}"}), flush=True)
        await asyncio.Event().wait()


@contextmanager
def other_process(*options: str) -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "benchmarks.feed", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield json.loads(child.stdout.readline())
        finally:
            child.kill()


async def follow(urls: dict[str, str], coins: int, minutes: float, speed: float) -> dict[str, Any]:
    """Run the feed for some venue minutes and measure it."""
    clock, names = SystemClock(), slots(coins)
    venue = VenueClock(clock, speed)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = ThreadedStore(Store(Path(folder) / "bars.db"))
        stack.callback(store.close)
        rest = await stack.enter_async_context(RestClient(urls["rest"], clock, venue))
        await rest.learn_clock()
        stream = CandleStream(urls["stream"], clock, names)
        feed = Feed(rest, stream, store, venue, names)
        started = venue.now_ms()
        await feed.backfill(dict.fromkeys(names, started - HOUR_MS))
        began, cpu = venue.now_ms(), time.process_time()
        lag_s, used = await observe(feed, rest, venue, minutes)
        cpu, lasted_s = time.process_time() - cpu, (venue.now_ms() - began) / 1000
        held = [copy for slot in names for copy in store.store.held(slot, 0, 2**62)]
        states = [feed.state(slot) for slot in names]
    return {
        "coins": coins,
        "venue_minutes": round(lasted_s / 60, 1),
        "backfill_venue_minutes": round((began - started) / 60_000, 1),
        "speed": speed,
        **lags(lag_s, coins, began + _ROUND_MS),
        "weight_per_minute_p50": int(np.median(used)),
        "weight_per_minute_max": max(used),
        "cpu_share_at_this_speed": round(cpu / (lasted_s / speed), 3),
        "cpu_s_per_venue_s": round(cpu / lasted_s, 4),
        "rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "by_provenance": dict(Counter(copy.provenance.value for copy in held)),
        **{name: sum(getattr(state, name) for state in states) for name in _COUNTED},
    }


async def observe(
    feed: Feed, rest: RestClient, venue: VenueClock, minutes: float
) -> tuple[dict[int, list[float]], list[int]]:
    """Run the feed; return the lags in s by the t of the bars, and samples of the weight used."""
    lag_s: dict[int, list[float]] = {}
    used: list[int] = []

    async def drain() -> None:
        async for _slot, bar in feed.bars():
            lag_s.setdefault(bar.t, []).append((venue.now_ms() - bar.t - STEP) / 1000)

    async def sample() -> None:
        while True:
            await venue.sleep(6)
            used.append(rest.weight_per_minute - rest.weight_left())

    work = [asyncio.create_task(one) for one in (feed.run(), drain(), sample())]
    await venue.sleep(minutes * 60)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    return lag_s, used


def lags(lag_s: dict[int, list[float]], coins: int, settled_ms: float) -> dict[str, Any]:
    """Return how long after its close each bar was stored, by the t of the bars.

    A start asks REST about every slot once; only bars that closed after that count.
    """
    first = max(t for t in lag_s if t + STEP <= settled_ms)
    settled = np.array([lag for t, lags in lag_s.items() if t > first for lag in lags])
    whole = [t for t in lag_s if first < t < max(lag_s)]
    at_start = max(max(lags) for t, lags in lag_s.items() if t <= first)
    return {
        "bars": len(settled),
        "bars_lacking": sum(coins - len(lag_s[t]) for t in whole),
        "lag_s_p50": round(float(np.median(settled)), 2),
        "lag_s_p99": round(float(np.quantile(settled, 0.99)), 2),
        "lag_s_max": round(float(settled.max()), 2),
        "lag_s_max_in_the_round_after_the_start": round(at_start, 1),
    }


async def take_ours(url: str, coins: int, frames: int) -> tuple[float, float]:
    """Process the tape with stream, feed and store; return wall and CPU seconds."""
    clock, names = SystemClock(), slots(coins)
    venue = VenueClock(clock)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = ThreadedStore(Store(Path(folder) / "bars.db"))
        stack.callback(store.close)
        rest = await stack.enter_async_context(RestClient(url, clock, venue))
        stream = CandleStream(url.replace("http", "ws") + "/ws", clock, names)
        feed = Feed(rest, stream, store, venue, names)
        began, cpu = time.perf_counter(), time.process_time()
        work = [asyncio.create_task(one) for one in (stream.run(), feed.listen())]
        bars = frames // (coins * FRAMES_A_BAR)
        last = BEGIN + (bars - 1) * STEP
        # The bar before the last of every coin is in the store once the last has begun.
        while any(store.store.newest_t(slot) != last - STEP for slot in (names[0], names[-1])):
            await clock.sleep(0.002)
        took = time.perf_counter() - began, time.process_time() - cpu
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        assert sum(len(store.store.bars(slot)["t"]) for slot in names) == coins * (bars - 1)
        assert not isinstance(stream.events, Disconnected)
    return took


def take_theirs(url: str, coins: int, frames: int) -> tuple[float, float]:
    """Process the tape with the official client, whose callback only counts."""
    manager, done, seen = WebsocketManager(url), threading.Event(), [0]

    def take(_message: Any) -> None:
        seen[0] += 1
        if seen[0] == frames:
            done.set()

    for slot in slots(coins):
        subscription = {"type": "candle", "coin": slot.coin, "interval": slot.interval}
        manager.subscribe(subscription, take)  # type: ignore[arg-type]
    manager.active_subscriptions["subscriptionResponse"] = []
    began, cpu = time.perf_counter(), time.process_time()
    manager.start()
    done.wait(300)
    took = time.perf_counter() - began, time.process_time() - cpu
    manager.stop()
    return took


def race(coins: int) -> dict[str, Any]:
    """Send one tape to both, three times in turn; the best of each counts."""
    frames = len(tape(coins))
    ours, theirs = [], []
    with other_process("--send-at-once", "--coins", str(coins)) as urls:
        for _ in range(3):
            ours.append(asyncio.run(take_ours(urls["rest"], coins, frames)))
            theirs.append(take_theirs(urls["rest"], coins, frames))
    best, rival = min(cpu for _, cpu in ours), min(cpu for _, cpu in theirs)
    return {
        "frames": frames,
        "ours_messages_per_s": round(frames / min(wall for wall, _ in ours)),
        "sdk_messages_per_s": round(frames / min(wall for wall, _ in theirs)),
        "ours_messages_per_cpu_s": round(frames / best),
        "sdk_messages_per_cpu_s": round(frames / rival),
        "ratio_per_cpu_s": round(rival / best, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coins", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=30.0, help="of venue time")
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--data", help="1m candles to play for every coin, instead of made-up ones")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send-at-once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logs.configure(logging.ERROR)  # stdout is for the figures
    if options.play:
        asyncio.run(play(options.coins, options.speed, options.data))
    if options.send_at_once:
        asyncio.run(send_at_once(options.coins))
    role = ["--play", "--coins", str(options.coins), "--speed", str(options.speed)]
    with other_process(*role, *(["--data", options.data] if options.data else [])) as urls:
        found = asyncio.run(follow(urls, options.coins, options.minutes, options.speed))
    found["within_budget"] = bool(
        found["lag_s_max"] <= LIMIT_LAG_S
        and found["bars_lacking"] == 0
        and found["cpu_s_per_venue_s"] < LIMIT_CORE
        and found["rss_mib"] < LIMIT_MIB
    )
    found |= race(options.coins)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:36} {value}")


if __name__ == "__main__":
    main()
