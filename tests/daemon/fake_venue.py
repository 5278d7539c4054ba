"""A small scripted venue on a real port: what it shows is set by hand, and it can fail on cue."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from daemon.core.bars import Bar, Funding
from hyperdrift.slot_name import HOUR_MS, SlotName

BTC = SlotName("BTC", "5m")
STEP = BTC.interval_ms
START = 1_750_000_200_000  # on the grid of 5m
Fault = tuple[int, str] | None
"""Status and body of the next answer; None hangs up."""


def bar(number: int, volume: float = 1.0, close: float = 100.0, n: int = 1) -> Bar:
    """The bar that opens `number` steps after START."""
    low, high = min(100.0, close), max(100.0, close)
    return Bar(START + number * STEP, 100.0, high, low, close, volume, n)


def candle(b: Bar, slot: SlotName = BTC) -> dict[str, Any]:
    """A bar as the venue writes it."""
    prices = {"o": str(b.open), "c": str(b.close), "h": str(b.high), "l": str(b.low)}
    close_ms = b.t + slot.interval_ms - 1
    span = {"t": b.t, "T": close_ms, "s": slot.coin, "i": slot.interval}
    return span | prices | {"v": str(b.volume), "n": b.n}


def hourly(first_ms: int, hours: int) -> list[Funding]:
    first_ms -= first_ms % HOUR_MS
    return [Funding(first_ms + k * HOUR_MS + 79, 1e-5 + k * 1e-9) for k in range(hours)]


@dataclass
class FakeVenue:
    """Serves `bars` that have begun by `now`, newest 5000; `visible` decides what REST has yet."""

    now: Callable[[], int]
    bars: dict[int, Bar] = field(default_factory=dict)
    funding: list[Funding] = field(default_factory=list)
    visible: Callable[[Bar], bool] = lambda b: True
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def put(self, bars: Iterable[Bar]) -> None:
        self.bars |= {b.t: b for b in bars}

    def asked(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self.requests if r["type"] == kind]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        if self.faults and body["type"] != "exchangeStatus":
            fault = self.faults.popleft()
            if fault is None:
                assert request.transport is not None
                request.transport.close()
                return web.Response()
            return web.Response(status=fault[0], text=fault[1])
        return web.Response(text=json.dumps(self.data(body)), content_type="application/json")

    def data(self, body: dict[str, Any]) -> Any:
        now = self.now()
        if body["type"] == "exchangeStatus":
            return {"time": now, "specialStatuses": None}
        if body["type"] == "meta":
            return {"universe": [{"name": "BTC"}, {"name": "MATIC", "isDelisted": True}]}
        wanted = body.get("req", body)
        first, last = wanted["startTime"], min(now, wanted.get("endTime", now))
        if body["type"] == "fundingHistory":
            rows = [f for f in self.funding if first <= f.time <= last][:500]
            return [{"coin": "BTC", "fundingRate": str(f.rate), "time": f.time} for f in rows]
        newest = sorted(b.t for b in self.bars.values() if b.t <= now and self.visible(b))[-5000:]
        return [candle(self.bars[t]) for t in newest if first - STEP < t <= last]


@asynccontextmanager
async def serving(venue: FakeVenue) -> AsyncIterator[FakeVenue]:
    app = web.Application()
    app.router.add_post("/info", venue.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield venue
    finally:
        await runner.cleanup()
