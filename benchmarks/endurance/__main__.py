"""Run the daemon for thirty simulated days and check that nothing in it grows.

python -m benchmarks.endurance [--days 30] [--speed 1000] [--plot FILE] [--json]

It runs the real daemon with four slots, its embedded broker and a paper bot. The exchange replays
artificial markets whose regime changes on day ten. Each slot is retrained every three days, and
when drift starts a retrain. The store begins with 92 days of scores, and each slot with thirty
old versions. So everything that is pruned is at its limit from the first day. A series that still
grows is not pruned.

Every six hours it measures the daemon's memory, open files, threads, asyncio tasks and children.
It also measures the rows of the journal and the disk by folder. A series is flat if its second
half grows by less than the limit in thirty days (Theil-Sen slope with its 95 % interval). If one
is not flat, the exit code is 1. In fewer than ten days the daily pruning itself looks like a slope.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import threading
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import theilslopes

from benchmarks.endurance.setup import (
    SLOTS,
    START_MS,
    fill_models,
    fill_store,
    markets,
    port_of,
    write_config,
)
from daemon import cli
from daemon.demo.exchange import ReplayExchange
from daemon.demo.processes import DemoProcess
from daemon.registry.signing import generate as generate_keys
from daemon.store.data_folder import STORE_NAME
from daemon.store.journal_kinds import ENTRIES_PRUNED
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import DAY_MS

EVERY_H = 6.0
# The allowed growth in thirty days: a share of the median, or a number if the median is 0.
LIMITS = {
    "memory, MiB (PSS)": 0.10,
    "memory, MiB (RSS)": 0.10,
    "open files": 0.05,
    "threads": 0.05,
    "asyncio tasks": 0.05,
    "child processes": 0.5,
    "journal, rows": 0.05,
    "disk, MiB: store": 0.10,  # each bar needs 100 bytes for ever
    "disk, MiB: models": 0.10,
    "disk, MiB: jobs": 1.0,
    "disk, MiB: all the rest": 0.10,
}


@dataclass
class MeasuredSeries:
    """The measurements, each with its simulated day."""

    day: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LIMITS})

    def add(self, day: float, sample: dict[str, float]) -> None:
        self.day.append(day)
        for name, seen in self.values.items():
            seen.append(sample[name])


@dataclass(frozen=True)
class EnduranceVerdict:
    """The growth of one series in thirty days by its second half, with the 95 % interval."""

    name: str
    median: float
    growth: float
    low: float
    high: float
    limit: float

    @property
    def flat(self) -> bool:
        return self.growth <= self.limit  # a decrease is no leak

    def line(self) -> str:
        said = "flat" if self.flat else "NOT FLAT"
        span = f"{self.growth:+.2f} ({self.low:+.2f} to {self.high:+.2f})"
        return f"{self.name:<26}{self.median:>12.1f}{span:>34}{self.limit:>10.2f}  {said}"


def judge(series: MeasuredSeries) -> list[EnduranceVerdict]:
    """Fit a line through the second half of each series."""
    day = np.array(series.day)
    late = day >= day[-1] / 2
    verdicts = []
    for name, limit in LIMITS.items():
        seen = np.array(series.values[name])[late]
        slope, _, low, high = theilslopes(seen, day[late], 0.95)
        median = float(np.median(seen))
        allowed = limit * median if limit < 0.5 else limit
        found = (30 * float(x) for x in (slope, low, high))
        verdicts.append(EnduranceVerdict(name, median, *found, allowed))
    return verdicts


# --- the daemon in its own process, with a thread that counts its tasks ---


def run_daemon(config: str, log_file: Path) -> None:
    """Run `hyperdrift run`, and write the number of the loop's tasks to `log_file`."""

    class Counted(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loop = super().new_event_loop()
            threading.Thread(target=count, args=(loop,), daemon=True).start()
            return loop

    def count(loop: asyncio.AbstractEventLoop) -> None:
        while True:
            time.sleep(1)
            loop.call_soon_threadsafe(note, loop)

    def note(loop: asyncio.AbstractEventLoop) -> None:
        aside = log_file.with_suffix(".new")
        aside.write_text(str(len(asyncio.all_tasks(loop))))
        aside.replace(log_file)

    asyncio.set_event_loop_policy(Counted())
    sys.argv = ["hyperdrift", "run", "--config", config]
    cli.main()


# --- observing ---


class ProcessObserver:
    """Measures the daemon from another process."""

    def __init__(self, pid: int, folder: Path, log_file: Path) -> None:
        self._proc, self._folder, self._log_file = Path(f"/proc/{pid}"), folder, log_file

    def sample(self) -> dict[str, float]:
        lines = (self._proc / "smaps_rollup").read_text().splitlines()[1:]
        memory = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines}
        children = "".join(p.read_text() for p in self._proc.glob("task/*/children"))
        disk = self._disk()
        return {
            "memory, MiB (PSS)": memory["Pss"],
            "memory, MiB (RSS)": memory["Rss"],
            "open files": len(list((self._proc / "fd").iterdir())),
            "threads": len(list((self._proc / "task").iterdir())) - 1,  # less the counting one
            "asyncio tasks": float(self._log_file.read_text()),
            "child processes": len(children.split()),
            "journal, rows": self._query("SELECT count(*) FROM journal")[0][0],
            **{f"disk, MiB: {name}": size for name, size in disk.items()},
        }

    def pruned(self) -> list[dict[str, Any]]:
        rows = self._query(f"SELECT body FROM journal WHERE kind = '{ENTRIES_PRUNED}'")
        return [json.loads(body) for (body,) in rows]

    def counts(self) -> dict[str, int]:
        kinds = ("RetrainFinished", "RetrainFailed", "ModelServed", "BarScored", "SwapAcked")
        wanted = ", ".join(f"'{kind}'" for kind in kinds)
        return dict(
            self._query(
                f"SELECT kind, count(*) FROM journal WHERE kind IN ({wanted}) AND at_ms >="
                f" {START_MS} GROUP BY kind"
            )
        )

    def failures(self) -> list[str]:
        """Return the reasons of failed retrains; a candidate that a gate refused is no failure."""
        query = (
            "SELECT DISTINCT json_extract(body, '$.error') FROM journal"
            f" WHERE kind = 'RetrainFailed' AND at_ms >= {START_MS}"
        )
        return [error for (error,) in self._query(query)]

    def _query(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._folder / STORE_NAME}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def _disk(self) -> dict[str, float]:
        sizes, seen = dict.fromkeys(("store", "models", "jobs", "all the rest"), 0.0), set()
        for root, _, names in os.walk(self._folder):
            for name in names:
                path = Path(root, name)
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    if status.st_ino in seen:
                        continue  # a hard link to a file counted before
                    seen.add(status.st_ino)
                    top = path.relative_to(self._folder).parts[0]
                    place = "store" if top.startswith(STORE_NAME) else top
                    sizes[place if place in sizes else "all the rest"] += status.st_blocks / 2048
        return sizes


async def endure(days: int, speed: float, folder: Path) -> tuple[MeasuredSeries, ProcessObserver]:
    """Replay `days` days and measure every six hours."""
    recordings = list(markets(days))
    await asyncio.to_thread(fill_store, folder / "data", recordings)
    generate_keys(*(folder / "data" / "keys" / f"hyperdrift.{kind}" for kind in ("key", "pub")))
    await asyncio.to_thread(fill_models, folder, write_config(folder, speed))
    clock, series, log_file = SystemClock(), MeasuredSeries(), folder / "tasks"
    async with AsyncExitStack() as stack:
        exchange = ReplayExchange(recordings, clock, speed=speed, start_ms=START_MS)
        await stack.enter_async_context(exchange)
        config = write_config(folder, speed, exchange)
        me = ("-m", "benchmarks.endurance", "--run-daemon", str(config), "--log", str(log_file))
        daemon = await stack.enter_async_context(DemoProcess("daemon", me, folder))
        bot = (
            *("-m", "daemon.demo.bot", "--slot", str(SLOTS[0]), "--speed", str(speed)),
            *("--venue-url", exchange.url, "--ws-url", exchange.ws_url),
            *("--broker", f"mqtt://127.0.0.1:{port_of(config)}"),
            *("--public-key", str(folder / "data" / "keys" / "hyperdrift.pub")),
        )
        paper = await stack.enter_async_context(DemoProcess("bot", bot, folder))
        observer = ProcessObserver(daemon.pid, folder / "data", log_file)
        while not log_file.exists():  # until the daemon has started
            daemon.check()
            await asyncio.sleep(0.1)
        began = clock.monotonic()
        for number in range(1, round(days * 24 / EVERY_H) + 1):
            due = began + number * EVERY_H * 3600 / speed
            await asyncio.sleep(max(0.0, due - clock.monotonic()))
            for actor in (daemon, paper):
                actor.check()
            day = (clock.monotonic() - began) * speed * 1000 / DAY_MS
            series.add(day, await asyncio.to_thread(observer.sample))
            said = ", ".join(f"{name} {seen[-1]:.0f}" for name, seen in series.values.items())
            print(f"day {day:5.2f}: {said}", file=sys.stderr, flush=True)
    return series, observer


def plot(series: MeasuredSeries, path: Path) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(4, 3, figsize=(9, 8), layout="constrained", sharex=True)
    for axis, (name, seen) in zip(axes.flat, series.values.items(), strict=False):
        axis.plot(series.day, seen, linewidth=1)
        axis.set_title(name, fontsize=9)
        axis.set_ylim(0, max(1.0, 1.25 * max(seen)))
        axis.axvspan(series.day[-1] / 2, series.day[-1], alpha=0.08)
        axis.tick_params(labelsize=7)
    for axis in list(axes.flat)[len(series.values) :]:
        axis.axis("off")
    figure.supxlabel("simulated days; judged: the shaded half", fontsize=8)
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--speed", type=float, default=1000.0)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--run-daemon", help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_daemon:
        run_daemon(options.run_daemon, options.log)
        return
    with TemporaryDirectory(prefix="hyperdrift-endurance-") as folder:
        series, observer = asyncio.run(endure(options.days, options.speed, Path(folder)))
        pruned, counts, failures = observer.pruned(), observer.counts(), observer.failures()
    if options.plot:
        plot(series, options.plot)
    verdicts = judge(series)
    longest = max((round_["longest_ms"] for round_ in pruned), default=0.0)
    rows = sum(sum(round_["scores"].values()) for round_ in pruned)
    if options.json:
        document = {
            "days": options.days,
            "speed": options.speed,
            "flat": all(v.flat for v in verdicts),
            "verdicts": [{**vars(v), "flat": v.flat} for v in verdicts],
            "pruned": {"rounds": len(pruned), "scores": rows, "longest_ms": longest},
            "events": counts,
            "failures": failures,
            "series": {"day": series.day, **series.values},
        }
        print(json.dumps(document))
    else:
        print(f"{'':<26}{'median':>12}{'growth in 30 days (95 %)':>34}{'limit':>10}")
        for verdict in verdicts:
            print(verdict.line())
        print(f"{len(pruned)} prunings removed {rows} scores; longest step {longest} ms; {counts}")
        for failure in failures:
            print(f"a retrain failed: {failure}")
    sys.exit(not all(v.flat for v in verdicts))


if __name__ == "__main__":
    main()
