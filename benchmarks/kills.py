"""Kill the daemon at random moments while bars stream in, and count lost and doubled bars.

python -m benchmarks.kills [--kills 200] [--seed 1] [--speed 1500] [--json]

Each time the real daemon, on a real database file, is ended with SIGKILL and started again,
while the exchange plays on. Half of the kills fall into the start, half into the streaming.
There is no broker and too little history for a model, so nothing trains. At the end every
bar that the exchange's REST has must be in the store once, with its values, and must have been
scored once, in order.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import sqlite3
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from daemon import app
from daemon.config import loader as configuration
from daemon.core import logs
from daemon.core.bars import Bar, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.hyperliquid.wire import decode_candles
from daemon.store.data_folder import STORE_NAME
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
START_MS = 1_750_032_000_000
PAST = 288
# The daemon is imported once and forked for every start, so a start takes no import time.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["daemon.app"])


class Report(NamedTuple):
    """The state after the kills."""

    kills: int
    while_streaming: int
    bars: int
    """Bars that the exchange's REST had at the end, since the first that was scored."""
    lost: list[int]
    wrong: list[int]
    doubled: list[int]
    out_of_order: list[int]
    gaps: int

    @property
    def sound(self) -> bool:
        """True if nothing was lost, distorted, doubled or disordered."""
        damage = (self.lost, self.wrong, self.doubled, self.out_of_order)
        return not any(damage) and not self.gaps


def run_daemon(config: str) -> None:
    """Run the daemon until killed."""
    logs.configure(logging.CRITICAL)
    asyncio.run(app.run(configuration.load(Path(config)), SystemClock()))


async def survive(kills: int, seed: int, speed: float, folder: Path) -> Report:
    """Kill the daemon many times on one data folder, let a last one catch up, and report."""
    random, clock = Random(seed), SystemClock()
    bars = PAST + 200 * kills + 3000
    recording = generate(bars, STEP, seed, start_ms=START_MS)
    begin_ms = START_MS + PAST * STEP
    async with ReplayExchange([recording], clock, speed=speed, start_ms=begin_ms) as exchange:
        config = _write_config(folder, exchange, speed)
        streaming = 0
        for number in range(kills):
            daemon = _started(config)
            before = _newest_scored(folder)
            if number % 2:
                while _newest_scored(folder) <= before + STEP:
                    await clock.sleep(0.01)
                streaming += 1
            await clock.sleep(random.uniform(0, 0.4))
            daemon.kill()
            await asyncio.to_thread(daemon.join)
        daemon = _started(config)
        rest = _confirmed(exchange)
        while _newest_scored(folder) < max(rest):
            await clock.sleep(0.05)
        daemon.kill()
        await asyncio.to_thread(daemon.join)
    return _report(kills, streaming, folder, rest)


def _started(config: Path) -> Any:
    process = PROCESSES.Process(target=run_daemon, args=(str(config),), daemon=True)
    process.start()
    return process


def _write_config(folder: Path, exchange: ReplayExchange, speed: float) -> Path:
    config = folder / "hyperdrift.toml"
    config.write_text(
        f'[daemon]\ndata_dir = "{folder}"\n'
        f'[[slots]]\ncoin = "{SLOT.coin}"\ninterval = "{SLOT.interval}"\nhistory_days = 3\n'
        f'[hyperliquid]\nrest_url = "{exchange.url}"\nws_url = "{exchange.ws_url}"\n'
        # No broker listens there: bars must not wait for one.
        f'speed = {speed}\n[mqtt]\nbroker = "mqtt://127.0.0.1:9"\n[web]\nlisten = ""\n'
    )
    return config


def _confirmed(exchange: ReplayExchange) -> dict[int, Bar]:
    """Return the bars that REST has and that are final."""
    window = {"coin": SLOT.coin, "interval": SLOT.interval, "startTime": START_MS}
    request = msgspec.json.encode({"type": "candleSnapshot", "req": window})
    rows = decode_candles(exchange._venue.answer(request, exchange.now_ms()).body, SLOT).frames  # noqa: SLF001
    return {frame.bar.t: frame.bar for frame in rows[:-1]}


def _newest_scored(folder: Path) -> int:
    rows = _journal(folder, "ORDER BY seq DESC LIMIT 1")
    return rows[0] if rows else 0


def _journal(folder: Path, which: str) -> list[int]:
    """Return the t of scored bars as the journal has them, without disturbing the daemon."""
    path = folder / STORE_NAME
    if not path.exists():
        return []
    query = f"SELECT body FROM journal WHERE kind = 'BarScored' {which}"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
        try:
            return [json.loads(body)["t"] for (body,) in db.execute(query)]
        except sqlite3.OperationalError:  # killed before the first table was made
            return []


def _report(kills: int, streaming: int, folder: Path, rest: dict[int, Bar]) -> Report:
    scored = _journal(folder, "ORDER BY seq")
    with Store(folder / STORE_NAME) as store:
        stored = {s.bar.t: s for s in store.held(SLOT, 0, 2**62)}
        gaps = len(store.gaps(SLOT))
    known = {t: stored[t] for t in rest if t in stored}
    last, once = max(rest), set(scored)
    return Report(
        kills=kills,
        while_streaming=streaming,
        bars=sum(t >= scored[0] for t in rest),
        lost=[t for t in rest if t not in stored or (t >= scored[0] and t not in set(scored))],
        wrong=[t for t, s in known.items() if (s.bar, s.provenance) != (rest[t], Provenance.REST)],
        doubled=sorted((Counter(scored) - Counter(once)).keys()),
        out_of_order=[b for a, b in pairwise(scored) if b != a + STEP and b <= last],
        gaps=gaps,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1500.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="hyperdrift-kills-") as folder:
        report = asyncio.run(survive(given.kills, given.seed, given.speed, Path(folder)))
    document = {**report._asdict(), "sound": report.sound}
    if given.json:
        print(json.dumps(document))
    else:
        for name, value in document.items():
            print(f"{name:>16}  {value}")


if __name__ == "__main__":
    main()
