"""Time a closed bar until its published decision, with and without a retrain on the same cores.

python -m benchmarks.latency [--bars 300] [--nice 10] [--json]

The slot runner is built as `hyperdrift run` builds it, with a store on disk, a real mosquitto and a
live model of the full stack. A bar is timed from the moment the feed would deliver it until the
journal has its score and a subscriber has received the state. In the second half the real child
process retrains again and again, at the configured priority and limits. `stall_ms` is how late the
event loop ran a task that is due every five milliseconds. Budget: p99 50 ms, no stall above 50 ms.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from daemon.config.schema import Config, DaemonSection, RetrainSection, SlotSection
from daemon.core import logs
from daemon.core.bars import Bar, Funding, Provenance
from daemon.core.clock import VenueClock
from daemon.demo.market import generate
from daemon.mqtt.messages import encode
from daemon.runtime.command_log import CommandLog
from daemon.runtime.inbox import Inbox
from daemon.runtime.slot_runner import SlotRunner
from daemon.runtime.trades import TradeBook
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from daemon.store.retrying_store import RetryingStore
from daemon.store.store import Store
from daemon.wiring import SharedParts, SlotParts, build_slots
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.process.loading import freeze_gc
from hyperdrift.slot_name import SlotName
from monitor.events import CommandReceived
from tests.ports import free_port

SLOT = SlotName("BTC", "5m")
HISTORY = 12_000
PACE_S = 0.15
PROBE_S = 0.005


@dataclass
class Probe:
    """What was measured in one half."""

    took_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        p50, p99 = np.percentile(self.took_ms, [50, 99])
        return {
            "bars": len(self.took_ms),
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
            "max_ms": round(max(self.took_ms), 1),
            "stall_ms": {
                "p99": round(float(np.percentile(self.late_ms, 99)), 1),
                "max": round(max(self.late_ms), 1),
                "above_50": sum(late > 50 for late in self.late_ms),
            },
            "load_average": round(os.getloadavg()[0], 1),
        }


@contextlib.asynccontextmanager
async def mosquitto(folder: Path) -> AsyncIterator[str]:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if found is None:
        raise SystemExit("mosquitto is not installed: apt install mosquitto")
    process = await asyncio.create_subprocess_exec(
        found, "-c", str(config), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def measure(folder: Path, bars: int, nice: int) -> dict[str, Any]:
    step_ms = SLOT.interval_ms
    start_ms = (time.time_ns() // 1_000_000 // step_ms - HISTORY) * step_ms  # it ends now
    recording = generate(HISTORY + 40 * bars + 2000, step_ms, 11, start_ms=start_ms)
    columns = (recording.t, recording.open, recording.high, recording.low, recording.close)
    rows = [
        Bar(*row) for row in zip(*(c.tolist() for c in (*columns, recording.volume)), strict=True)
    ]
    config = Config(
        daemon=DaemonSection(data_dir=str(folder / "data")),
        slots=(SlotSection(coin=SLOT.coin, interval=SLOT.interval, history_days=60),),
        policy={"max_age_days": 0, "on_drift": 0, "on_win_rate": 0, "min_bars": HISTORY},
        gates={"calibrated": 0.1},
        retrain=RetrainSection(nice=nice),
    )
    (folder / "data").mkdir()
    store = ThreadedStore(open_store(config.data_dir))
    store.store.put_bars(SLOT, rows[:HISTORY], Provenance.IMPORT)
    rates = zip(recording.funding_t.tolist(), recording.funding_rate.tolist(), strict=True)
    store.store.put_funding(SLOT.coin, [Funding(*rate) for rate in rates])
    async with mosquitto(folder) as url, _running(config, store, url) as (parts, heard, bus):
        runner = parts.runners[SLOT]
        setup = LatencySetup(runner, parts.inboxes[SLOT], store, heard, iter(rows[HISTORY:]))
        await setup.until_a_model_is_live()
        runner.adopt(_refusing(config), runner._engine.settings)  # noqa: SLF001
        freeze_gc()  # as the daemon does when it is ready
        alone, beside = Probe(), Probe()
        await setup.play(bars, alone)
        while len(beside.took_ms) < bars:
            await setup.play_beside_a_retrain(bars, beside)
        await bus.flush()
    return {"nice": nice, "alone": alone.document(), "beside_a_retrain": beside.document()}


def _refusing(config: Config) -> Config:
    """Return a configuration with which no candidate goes live: one model answers throughout."""
    return Config(
        daemon=config.daemon, slots=config.slots, policy=config.policy,
        gates={"calibrated": 0.0}, retrain=config.retrain,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _running(
    config: Config, store: ThreadedStore, url: str
) -> AsyncIterator[tuple[SlotParts, dict[int, float], MqttConnection]]:
    """Run what `hyperdrift run` runs for a slot, and a subscriber with a stopwatch."""
    clock, topics, heard = SystemClock(), Topics(), dict[int, float]()
    venue = VenueClock(clock)
    bus = MqttConnection(BrokerAddress.parse(url), clock, encode=encode)
    listener = MqttConnection(BrokerAddress.parse(url), clock, encode=encode)

    def hear(_topic: str, payload: bytes, _retained: bool) -> None:
        heard.setdefault(json.loads(payload)["last_bar_t"] or 0, time.perf_counter())

    listener.subscribe(topics.state(SLOT), hear)
    store_with_retries = RetryingStore(store, clock)
    audit, book = CommandLog(store_with_retries, clock, venue), TradeBook(venue)
    shared = SharedParts(config, clock, venue, store_with_retries, bus, topics, audit, book)
    parts = build_slots(shared)
    ready = asyncio.Event()
    work = (bus.run(), listener.run(), parts.runners[SLOT].run(ready.set))
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(bus.wait_connected(), listener.wait_connected(), ready.wait())
        yield parts, heard, bus
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        store.close()


@dataclass
class LatencySetup:
    """Hands bars to the runner, one at a time, as the feed does: stored first."""

    runner: SlotRunner
    inbox: Inbox
    store: ThreadedStore
    heard: dict[int, float]
    rows: Any
    asked: int = 0

    async def until_a_model_is_live(self) -> None:
        while self.runner.state().model_id is None:
            await self._next(None)
            await asyncio.sleep(1)

    async def play(self, bars: int, probe: Probe) -> None:
        with self._watched(probe):
            for _ in range(bars):
                await self._next(probe)

    async def play_beside_a_retrain(self, bars: int, probe: Probe) -> None:
        self.asked += 1
        asked = CommandReceived(
            slot=str(SLOT), at_ms=time.time_ns() // 1_000_000, request_id=str(self.asked),
            command="retrain", reason="", model_id="", by="",
        )  # fmt: skip
        await self.inbox.put(asked)
        while self.runner.state().retrain is None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)  # the child imports its libraries
        with self._watched(probe):
            while self.runner.state().retrain is not None and len(probe.took_ms) < bars:
                await self._next(probe)
        while self.runner.state().retrain is not None:
            await asyncio.sleep(0.2)

    async def _next(self, probe: Probe | None) -> None:
        bar = next(self.rows)
        await self.store.call(Store.put_bars, SLOT, [bar], Provenance.REST)
        began = time.perf_counter()
        await self.inbox.put(bar)
        while bar.t not in self.heard:
            await asyncio.sleep(0.001)
        if probe is not None:
            probe.took_ms.append((self.heard[bar.t] - began) * 1000)
        await asyncio.sleep(PACE_S)

    @contextlib.contextmanager
    def _watched(self, probe: Probe) -> Any:
        async def watch() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(PROBE_S)
                probe.late_ms.append((time.perf_counter() - began - PROBE_S) * 1000)

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=300)
    parser.add_argument("--nice", type=int, default=RetrainSection().nice)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    logs.configure(40)
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        found = asyncio.run(measure(Path(folder), given.bars, given.nice))
    print(json.dumps(found, indent=None if given.json else 1))


if __name__ == "__main__":
    main()
