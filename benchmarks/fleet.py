"""Measure how the cost of a fleet grows: start, round of a bar close, memory, writes.

python -m benchmarks.fleet [--slots 1,10,50,200] [--days 180] [--rounds 3] [--speed 10] [--json]

The store is filled with `days` days of bars for each slot and with the scores that a daemon keeps
(90 days). Every slot serves a version of the full stack with its drift calibration. The real daemon
runs in a process of its own, with its embedded broker and its page, on the replay exchange.

It starts three times, at first at the venue's real speed, ten minutes after the newest stored bar.
`first_start_s` is the time until `daemon.ready` where the journal alone rebuilds the engines, and
`start_s` that of a second start. The third is at `speed` times the real one, and then come some
closes of all bars. Whatever else the daemon does for the venue is denser too: at ten times, the
pushes and the answers of REST of ten seconds come in one. `round_s` is the time from the last bar
that the feed hands on until the last slot has scored, watched and journalled its own. `decision_ms`
is the time of one slot's decision from its turn on. `held_ms` is how late the event loop ran a task
that is due every five milliseconds, and `held_by_itself_ms` the processor time that it used
meanwhile: other programs take no part in that.

The venue has processors of its own. So the exchange gives way to the daemon on these.
"""

import argparse
import asyncio
import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fleet_setup import NOW_MS, STEP_MS, fill, recordings, slots, write_config
from daemon import cli
from daemon.core.bars import Bar
from daemon.demo.exchange import ReplayExchange
from daemon.market_data.feed import Feed
from daemon.runtime.slot_runner import SlotRunner
from daemon.scoring.feature_computers import Builtin
from daemon.store.database import Database
from hyperdrift.clock import SystemClock
from tests.ports import free_port

SPEED, PROBE_S = 10.0, 0.005
EXCHANGE_NICE = 10
# Two bars and a minute after the newest stored bar closed.
STARTS_MS = NOW_MS + 2 * STEP_MS + 60_000
LIMITS = {"start_s": 60.0, "round_s": 10.0, "decision_ms_p99": 50.0, "held_ms": 50.0}
MEMORY_MIB = (300.0, 4.0)
PATIENCE_S = 600.0
Event = dict[str, Any]


async def play(count: int, port: int, speed: float, start_ms: int) -> None:
    """Run the exchange: print its addresses, then replay until killed."""
    os.nice(EXCHANGE_NICE)
    tapes, clock = recordings(count), SystemClock()
    async with ReplayExchange(tapes, clock, speed=speed, start_ms=start_ms, port=port) as exchange:
        print(json.dumps({"rest": exchange.url, "ws": exchange.ws_url}), flush=True)
        await asyncio.Event().wait()


# --- the daemon in its own process, with stopwatches ---


class Stopwatches:
    """Times the daemon from inside; `note` writes what they saw."""

    def __init__(self) -> None:
        self.handed: list[tuple[int, float]] = []
        self.decided: list[tuple[int, float, float]] = []
        self.wrote: list[tuple[float, float]] = []
        self.late: list[tuple[float, float, float]] = []

    def attach(self) -> None:
        emit, take, writing = Feed._emit, SlotRunner._take, Database.writing  # noqa: SLF001
        row, turns = Builtin._row, {}  # noqa: SLF001

        async def timed_emit(feed: Feed, slot: Any, bar: Bar) -> None:
            self.handed.append((bar.t, time.monotonic()))
            await emit(feed, slot, bar)

        async def timed_row(computer: Builtin, t: int) -> Any:
            turns[computer._bars.slot] = time.monotonic()  # noqa: SLF001
            return await row(computer, t)

        async def timed_take(runner: SlotRunner, item: Any) -> None:
            await take(runner, item)
            if isinstance(item, Bar) and (began := turns.pop(runner.slot, 0.0)):
                self.decided.append((item.t, began, time.monotonic()))

        @contextlib.contextmanager
        def timed_writing(database: Database) -> Iterator[Any]:
            began = time.monotonic()
            with writing(database) as connection:
                yield connection
            self.wrote.append((began, time.monotonic() - began))

        Feed._emit = timed_emit  # type: ignore[method-assign]  # noqa: SLF001
        Builtin._row = timed_row  # type: ignore[method-assign]  # noqa: SLF001
        SlotRunner._take = timed_take  # type: ignore[method-assign]  # noqa: SLF001
        Database.writing = timed_writing  # type: ignore[method-assign]

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        due, used = loop.time() + PROBE_S, time.thread_time()

        def look() -> None:
            if (late := loop.time() - due) > 10 * PROBE_S / 2:
                self.late.append((loop.time(), late, time.thread_time() - used))
            self.watch(loop)

        loop.call_at(due, look)


def run_daemon(config: str, log_file: Path) -> None:
    """Run `hyperdrift run` with stopwatches, which write to `log_file` at its end."""
    watches = Stopwatches()
    watches.attach()

    class Watched(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loop = super().new_event_loop()
            loop.call_soon(watches.watch, loop)
            return loop

    asyncio.set_event_loop_policy(Watched())
    atexit.register(lambda: log_file.write_text(json.dumps(vars(watches))))
    sys.argv = ["hyperdrift", "run", "--config", config]
    cli.main()


# --- observing ---


@contextmanager
def other_process(*options: str, **given: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.fleet", *options]
    with subprocess.Popen(command, text=True, **given) as child:
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(60)
            child.kill()


@contextmanager
def exchange(count: int, port: int, speed: float, start_ms: int) -> Iterator[dict[str, str]]:
    pace = ("--speed", str(speed), "--begin", str(start_ms))
    role = ("--play", str(count), "--port", str(port), *pace)
    with other_process(*role, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield json.loads(child.stdout.readline())


def started(child: subprocess.Popen[str], began: float, log: Path) -> float:
    """Wait until the daemon is ready; return the seconds since `began`."""
    while time.monotonic() < began + PATIENCE_S and child.poll() is None:
        if "daemon.ready" in log.read_text():
            return time.monotonic() - began
        time.sleep(0.05)
    raise SystemExit(f"the daemon did not get ready: {log.read_text()[-2000:]}")


def memory_mib(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(what))) / 1024


def run(
    folder: Path, count: int, port: int, pace: tuple[float, int], seconds: float
) -> tuple[Event, Event, float]:
    """Start the daemon, leave it alone for a while and stop it.

    Args:
        folder: Its folder.
        count: How many slots there are.
        port: The port of the exchange.
        pace: The exchange's speed, and its time at the start, ms UTC.
        seconds: How long it runs once it is ready.

    Returns:
        The figures from outside, those from inside, and when it was ready (monotonic, s).
    """
    inside, log = folder / "stopwatches.json", folder / "daemon.log"
    with exchange(count, port, *pace) as urls:
        config = write_config(folder, slots(count), pace[0], urls)
        role = ("--run-daemon", str(config), "--log", str(inside))
        began = time.monotonic()
        with log.open("w") as lines, other_process(*role, stderr=lines) as child:
            start_s = started(child, began, log)
            ready = time.monotonic()
            found = {
                "start_s": round(start_s, 1),
                "rss_mib_at_start": memory_mib(child.pid, "VmRSS"),
            }
            time.sleep(seconds)
            found |= {
                "rss_mib": memory_mib(child.pid, "VmRSS"),
                "rss_mib_peak": memory_mib(child.pid, "VmHWM"),
            }
    return found, json.loads(inside.read_text()), ready


def rounds(inside: Event, count: int, ready: float) -> Event:
    """Return the figures of the rounds that were whole and began after the start."""
    handed: dict[int, list[float]] = {}
    for t, at in inside["handed"]:
        handed.setdefault(t, []).append(at)
    whole = [t for t, at in handed.items() if len(at) == count and min(at) > ready]
    decided = {t: [(b, e) for own, b, e in inside["decided"] if own == t] for t in whole}
    whole = [t for t in whole if len(decided[t]) == count]
    if not whole:
        raise SystemExit("no round was whole; give it more --rounds")
    took = np.array([(end - begin) * 1000 for t in whole for begin, end in decided[t]])
    lasted, wrote_ms, writes = [], [], []
    for t in whole:
        last, done = max(handed[t]), max(end for _, end in decided[t])
        lasted.append(done - last)
        inside_round = [took for at, took in inside["wrote"] if min(handed[t]) <= at <= done]
        wrote_ms.append(1000 * sum(inside_round))
        writes.append(len(inside_round))
    return {
        "rounds": len(whole),
        "round_s": round(max(lasted), 2),
        "handed_on_within_s": round(max(max(handed[t]) - min(handed[t]) for t in whole), 2),
        "decision_ms_p50": round(float(np.median(took)), 1),
        "decision_ms_p99": round(float(np.quantile(took, 0.99)), 1),
        "store_writes_a_round": round(float(np.mean(writes))),
        "store_write_ms_a_round": round(float(np.mean(wrote_ms)), 1),
    }


def held(inside: Event, since: float, when: str = "") -> Event:
    """Return how late the loop was at most after `since` (monotonic, s), by whatever and by itself.

    Args:
        inside: The figures from inside.
        since: Monotonic time, s.
        when: Ends the names.
    """
    late = [each for each in inside["late"] if each[0] > since] or [(0.0, 0.0, 0.0)]
    _, whole, own = (1000 * max(column) for column in zip(*late, strict=True))
    return {f"held_ms{when}": round(whole, 1), f"held_by_itself_ms{when}": round(own, 1)}


def measure(count: int, days: int, many: int, speed: float) -> Event:
    with tempfile.TemporaryDirectory(prefix="hyperdrift-fleet-") as name:
        folder, began = Path(name), time.monotonic()
        fill(folder, slots(count), days)
        filled_s = time.monotonic() - began
        size = (folder / "data" / "hyperdrift.sqlite").stat().st_size
        port = free_port()  # the store stays with one venue
        anew = run(folder, count, port, (1.0, STARTS_MS), 0)[0]
        found, inside, _ = run(folder, count, port, (1.0, STARTS_MS), 0)
        found |= {"first_start_s": anew["start_s"], **held(inside, 0, "_in_start")}
        seconds = (many + 1) * STEP_MS / 1000 / speed + 15
        pace = speed, STARTS_MS + STEP_MS
        later, inside, ready = run(folder, count, port, pace, seconds)
        found |= {name: later[name] for name in ("rss_mib", "rss_mib_peak")}
        found |= rounds(inside, count, ready) | held(inside, ready)
    return {
        "slots": count,
        "days": days,
        "speed": speed,
        "filled_s": round(filled_s, 1),
        "store_mib": round(size / 2**20),
        **{name: round(value, 2) for name, value in found.items()},
        "load_average": round(os.getloadavg()[0], 1),
    }


def slopes(found: list[Event]) -> Event:
    """Fit a line through each figure; return what one slot more costs."""
    names = (
        *("start_s", "first_start_s", "round_s", "decision_ms_p99"),
        *("store_write_ms_a_round", "rss_mib", "store_mib"),
    )
    counts = [one["slots"] for one in found]
    if len(counts) < 2:
        return {}
    fitted = {name: np.polyfit(counts, [one[name] for one in found], 1) for name in names}
    return {
        name: {"a_slot": round(float(slope), 4), "at_none": round(float(base), 2)}
        for name, (slope, base) in fitted.items()
    }


def within(one: Event) -> bool:
    base, each = MEMORY_MIB
    known = all(one[name] <= limit for name, limit in LIMITS.items())
    return known and bool(one["rss_mib"] <= base + each * one["slots"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slots", default="1,10,50,200")
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--speed", type=float, default=SPEED)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run-daemon", help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        asyncio.run(play(options.play, options.port, options.speed, options.begin))
    if options.run_daemon:
        run_daemon(options.run_daemon, options.log)
        return
    found = []
    for count in map(int, options.slots.split(",")):
        found.append(measure(count, options.days, options.rounds, options.speed))
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    ends = {"slope": slopes(found), "within_limits": all(map(within, found))}
    if options.json:
        print(json.dumps({"found": found, **ends}))
        return
    for name in found[0]:
        print(f"{name:26}", *(f"{one[name]:>12}" for one in found))
    print(ends)


if __name__ == "__main__":
    main()
