"""The venue's own Python client, pointed at the replay exchange, notices no difference."""

import asyncio
import queue
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from daemon.demo.exchange import ReplayExchange
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import HOUR_MS
from tests.daemon.demo.markets import MINUTES_5, START_MS, as_recorded, market

RECORDING = market(300)
NOW_BAR = 200
NOW_MS = START_MS + NOW_BAR * MINUTES_5


@pytest.fixture
async def exchange() -> AsyncIterator[ReplayExchange]:
    async with ReplayExchange(
        [RECORDING], SystemClock(), speed=1500, start_ms=NOW_MS + 1000
    ) as served:
        yield served


@contextmanager
def client(url: str, *, streams: bool = False) -> Iterator[Any]:
    from hyperliquid.info import Info

    info = Info(url, skip_ws=not streams, timeout=60)
    with closing(info.session):
        try:
            yield info
        finally:
            if streams:
                # A close alone wakes nobody: its thread would look again after ten seconds.
                info.ws_manager.ws.sock.sock.shutdown(socket.SHUT_RDWR)
                info.ws_manager.join(60)
                info.disconnect_websocket()
                assert not info.ws_manager.is_alive()


async def ask(exchange: ReplayExchange, what: Callable[[Any], Any]) -> Any:
    def work() -> Any:
        with client(exchange.url) as info:
            return what(info)

    return await asyncio.to_thread(work)


async def test_meta_names_the_coins(exchange: ReplayExchange) -> None:
    meta = await ask(exchange, lambda info: info.meta())
    assert [(coin["name"], coin["szDecimals"]) for coin in meta["universe"]] == [("BTC", 5)]


async def test_candles_snapshot_gives_the_recorded_bars(exchange: ReplayExchange) -> None:
    first, last = START_MS + 10 * MINUTES_5, START_MS + 19 * MINUTES_5
    rows = await ask(exchange, lambda info: info.candles_snapshot("BTC", "5m", first, last))
    assert rows == [as_recorded(RECORDING, bar) for bar in range(10, 20)]


async def test_funding_history_gives_the_settled_rates(exchange: ReplayExchange) -> None:
    rows = await ask(
        exchange, lambda info: info.funding_history("BTC", START_MS, START_MS + 4 * HOUR_MS)
    )
    assert [row["time"] // HOUR_MS - START_MS // HOUR_MS for row in rows] == [0, 1, 2, 3]
    known = dict(zip(RECORDING.funding_t.tolist(), RECORDING.funding_rate.tolist(), strict=True))
    assert {row["time"]: float(row["fundingRate"]) for row in rows}.items() <= known.items()


async def test_a_candle_subscription_streams_bars_that_end_as_recorded(
    exchange: ReplayExchange,
) -> None:
    def work() -> list[dict[str, Any]]:
        frames: queue.Queue[dict[str, Any]] = queue.Queue()
        seen: list[dict[str, Any]] = []
        with client(exchange.url, streams=True) as info:
            wanted = {"type": "candle", "coin": "BTC", "interval": "5m"}
            info.subscribe(wanted, frames.put)
            while len({frame["t"] for frame in seen}) < 8:
                seen.append(frames.get(timeout=90)["data"])
        return seen

    seen = await asyncio.to_thread(work)
    states: dict[int, list[dict[str, Any]]] = {}
    for frame in seen:
        states.setdefault((frame["t"] - START_MS) // MINUTES_5, []).append(frame)
    assert sorted(states) == list(range(min(states), min(states) + 8))
    recorded = {bar: as_recorded(RECORDING, bar) for bar in states}
    assert all(one["n"] <= recorded[bar]["n"] for bar in states for one in states[bar])
    ended = [states[bar][-1] == recorded[bar] for bar in sorted(states)[:-1]]
    assert sum(ended) >= 5  # of one bar in fifty the last state is never pushed
