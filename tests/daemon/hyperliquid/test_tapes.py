"""Recorded sockets replayed: what is stored of them is each bar's last and fullest state."""

import asyncio
import json
from contextlib import suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from tests.daemon.clocks import FastClock
from tests.daemon.hyperliquid.test_wire import recorded, recording
from tests.fakes import FakeClock


def last_states(rows: list[dict[str, dict[str, dict[str, str]]]]) -> list[Bar]:
    """Read the tape without our code: of each bar the frame with the most trades, the later one."""
    fullest: dict[int, dict[str, str]] = {}
    for row in rows:
        data = row["frame"]["data"]
        t = int(data["t"])
        if t not in fullest or int(data["n"]) >= int(fullest[t]["n"]):
            fullest[t] = data
    bars = []
    for t, data in sorted(fullest.items()):
        opened, high, low, close, volume = (float(data[k]) for k in "ohlcv")
        bars.append(Bar(t, opened, high, low, close, volume, int(data["n"])))
    return bars


@recorded
@pytest.mark.parametrize(
    "name",
    [
        "candle_ETH_1m_excerpt_late_final_update",
        "candle_ETH_1m_excerpt_reordered_frames",
        "candle_AAVE_1m_2025-03-20_bar_rollover",
    ],
)
async def test_a_tape_gives_the_last_state_of_each_bar(name: str) -> None:
    rows = recording(f"ws/{name}.json")["rows"]
    slot = SlotName(rows[0]["frame"]["data"]["s"], rows[0]["frame"]["data"]["i"])
    expected = last_states(rows)

    async def play(connection: ServerConnection) -> None:
        asked = json.loads(await connection.recv())
        await connection.send(json.dumps({"channel": "subscriptionResponse", "data": asked}))
        for row in rows:
            await connection.send(json.dumps(row["frame"]))
        await connection.wait_closed()

    clock = FakeClock(ms=rows[-1]["recv_ns"] // 1_000_000)
    venue = VenueClock(clock)
    store = ThreadedStore(Store(":memory:"))
    async with (
        serve(play, "127.0.0.1", 0) as server,
        RestClient("http://127.0.0.1:9", clock, venue) as rest,
    ):
        port = server.sockets[0].getsockname()[1]
        stream = CandleStream(f"ws://127.0.0.1:{port}/ws", FastClock(1.0), (slot,))
        feed = Feed(rest, stream, store, venue, (slot,))
        tasks = [asyncio.create_task(stream.run()), asyncio.create_task(feed.listen())]
        async with asyncio.timeout(60):
            while store.store.newest_t(slot) != expected[-2].t:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    held = store.store.held(slot, 0, 2**62)
    assert [copy.bar for copy in held] == expected[:-1]  # the last is still forming
    assert {copy.provenance for copy in held} == {Provenance.STREAM}
    store.close()
