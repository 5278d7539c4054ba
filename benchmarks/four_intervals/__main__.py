"""Measure a fleet of coins in four timeframes: its busiest close, a change of slots, a delisting.

python -m benchmarks.four_intervals [--coins 50] [--speed 10] [--keep FOLDER]

The real daemon runs on the replay exchange with each coin at 5m, 1h, 12h and 1d, and a live model
for each slot. The exchange begins half an hour before midnight UTC, where bars of all four
intervals close at once. Then a reload takes 20 coins out and 20 others in. At last a `coin = "*"`
follows the coins, and the venue delists one.

Every bar that closed meanwhile is compared with what the exchange serves of it. `rounds` has for
each close how many decisions were made, after how many seconds of the venue the last bar was
handed on, and how many seconds on the wall later the last decision was made.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from benchmarks.fleet import memory_mib
from benchmarks.fleet_setup import NOW_MS, STEP_MS
from benchmarks.four_intervals.observing import (
    Event,
    Seen,
    differing,
    rounds,
    unscored,
    until,
)
from benchmarks.four_intervals.setup import BEGIN_MS, CHANGED, INTERVALS, coin, fill, markets, slots
from daemon.core.tasks import running
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import Delisted
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.slot_name import DAY_MS, MINUTE_MS
from tests.ports import free_port


class Stage:
    """The exchange, the daemon, and what was found so far."""

    def __init__(self, folder: Path, exchange: ReplayExchange, coins: int, speed: float) -> None:
        self.folder, self.exchange, self.speed = folder, exchange, speed
        self.seen, self.found = Seen(folder, exchange), Event()
        self.broker, self.page = free_port(), free_port()
        self.first = list(map(coin, range(coins)))
        self.later = list(map(coin, range(CHANGED, coins + CHANGED)))
        self.gone = [name for name in self.first if name not in self.later]
        self.pid = 0

    def configure(self, how: str) -> Path:
        path, exchange = self.folder / "hyperdrift.toml", self.exchange
        path.write_text(
            f'[daemon]\ndata_dir = "{self.folder / "data"}"\n[[slots]]\n{how}\n'
            f'interval = {json.dumps(INTERVALS)}\nthreshold = "auto"\nhistory_days = 10\n'
            f'[hyperliquid]\nrest_url = "{exchange.url}"\nws_url = "{exchange.ws_url}"\n'
            f"speed = {self.speed}\n"
            f"[mqtt]\nport = {self.broker}\nanonymous = true\nhomeassistant = true\n"
            f'[web]\nlisten = "127.0.0.1:{self.page}"\n'
            "[policy]\nmax_age_days = 0\non_drift = false\non_win_rate = false\n"
        )
        return path

    async def reload(self, how: str) -> float:
        """Change the slots; return how many wall seconds that takes."""
        before = self.seen.logged("config.reloaded")
        self.configure(how)
        os.kill(self.pid, signal.SIGHUP)
        return await until(lambda: self.seen.logged("config.reloaded") > before, 300)

    def compare(self, what: str, coins: Iterable[str], since_ms: int) -> None:
        """Compare the bars of some coins that closed since then."""
        many, wrong = differing(self.seen, slots(coins), since_ms)
        self.found[what] = {"bars": many, "differing": len(wrong), "such": wrong[:5]}

    def note(self, when: str) -> None:
        slots_now = json.loads(self.seen.kept.get("hyperdrift/status", b"{}")).get("slots", [])
        self.found[when] = {
            "slots": len(slots_now),
            "subscriptions": len(self.seen.subscriptions()),
            "mib": round(memory_mib(self.pid, "VmRSS")),
            "told": dict(self.seen.told),
            "warnings": dict(self.seen.warnings()),
        }
        print(json.dumps(self.found), file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def daemon(stage: Stage) -> AsyncIterator[None]:
    """Run the daemon with the stopwatches of `benchmarks.fleet`, and hear what it publishes."""
    config = stage.configure(f"coin = {json.dumps(stage.first)}")
    role = ("--run-daemon", str(config), "--log", str(stage.folder / "stopwatches.json"))
    bus = MqttConnection(BrokerAddress.parse(f"mqtt://127.0.0.1:{stage.broker}"), SystemClock())
    bus.subscribe("#", stage.seen.hear)
    with (stage.folder / "daemon.log").open("w") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.fleet", *role, stderr=log
        )
        stage.pid = child.pid
        try:
            async with running(bus.run(), "bus"):
                yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM)
            await asyncio.wait_for(child.wait(), 60)


async def pass_midnight(stage: Stage) -> None:
    seen, exchange = stage.seen, stage.exchange
    stage.found["start_s"] = await until(lambda: seen.logged("daemon.ready"), 300)
    since_ms = exchange.now_ms()
    stage.note("at_start")
    await until(lambda: exchange.now_ms() > NOW_MS + 8 * MINUTE_MS, 3600)
    stage.compare("over_midnight", stage.first, since_ms)
    lacking = unscored(seen, slots(stage.first), since_ms)
    stage.found["unscored"] = len(lacking), lacking[:5]
    stage.note("after_midnight")


async def change_slots(stage: Stage) -> None:
    seen, exchange, since_ms = stage.seen, stage.exchange, stage.exchange.now_ms()
    stage.found["change_s"] = await stage.reload(f"coin = {json.dumps(stage.later)}")
    await until(lambda: exchange.now_ms() > since_ms + 2.4 * STEP_MS, 3600)
    await asyncio.sleep(max(0.0, 80 - 2.4 * STEP_MS / 1000 / stage.speed))
    stage.compare("beside", [name for name in stage.first if name in stage.later], since_ms)
    new = [name for name in stage.later if name not in stage.first]
    stage.compare("of_new", new, since_ms + STEP_MS)
    stage.found["left_on_broker"] = seen.topics(stage.gone)
    stage.note("changed")


async def delist_one(stage: Stage) -> None:
    """Follow whatever is traded, and let one coin end; both are looked at each hour."""
    seen, exchange = stage.seen, stage.exchange
    before, ended = seen.logged("slots.changed"), stage.later[0]
    stage.found["star_s"] = await stage.reload(f'coin = "*"\nexclude = {json.dumps(stage.gone)}')
    await asyncio.sleep(10)
    stage.found["changes_by_star"] = seen.logged("slots.changed") - before
    at_ms = exchange.now_ms() - BEGIN_MS + MINUTE_MS
    exchange.add_faults([Delisted(at_ms=at_ms, for_ms=30 * DAY_MS, coin=ended)])
    before, wait_s = seen.logged("slots.changed"), 75 * 60 / stage.speed
    stage.found["delisted_s"] = await until(lambda: seen.logged("slots.changed") > before, wait_s)
    await asyncio.sleep(3)
    stage.found["left_of_delisted"] = seen.topics([ended])
    stage.note("delisted")


async def run(folder: Path, coins: int, speed: float) -> Event:
    tapes = markets(coins + CHANGED)
    if not (folder / "data").exists():
        await asyncio.to_thread(fill, folder, tapes[:coins])
    played = [tape.between(NOW_MS - 19 * DAY_MS, NOW_MS + DAY_MS) for tape in tapes]
    del tapes
    exchange = ReplayExchange(
        played, SystemClock(), speed=speed, start_ms=BEGIN_MS, port=free_port()
    )
    async with exchange:
        stage = Stage(folder, exchange, coins, speed)
        anchor = time.monotonic(), exchange.now_ms()
        async with daemon(stage):
            await pass_midnight(stage)
            await change_slots(stage)
            await delist_one(stage)
    weights = sorted(stage.seen.weight.values())
    middle = weights[len(weights) // 2]
    stage.found["weight"] = {"minutes": len(weights), "most": weights[-1], "median": middle}
    stage.found["asked"] = dict(stage.seen.asked)
    return stage.found | rounds(folder, anchor, speed) | {"load_average": os.getloadavg()[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--coins", type=int, default=50)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--keep", type=Path, help="a folder that keeps store and log")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hyperdrift-intervals-") as name:
        folder = options.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(asyncio.run(run(folder, options.coins, options.speed)), indent=1))


if __name__ == "__main__":
    main()
