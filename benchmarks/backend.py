"""Wall time of retrains over one and two workers of a Dask cluster, and what a cluster costs a job.

    python -m benchmarks.backend [--jobs 40] [--bars 800] [--pairs 6] [--json]

In one run: the jobs over one worker of one core and over two, and a few in turn there and here.
Efficiency is the time over one worker, divided by twice the time over two. A retrain is as small as
a real one can be, so the overhead weighs most.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from daemon.config.schema import Config, DaemonSection, RetrainSection
from daemon.fleet.opening import open_jobs
from daemon.training.jobs import Jobs
from hyperdrift.clock import SystemClock
from tests.retrain.planted import planted

PORT = 18797
ADDRESS = f"127.0.0.1:{PORT}"
DASK = str(Path(sys.executable).with_name("dask"))
AT_MS = 1_760_000_000_000


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[None]:
    """Run a scheduler, and workers that have a core each."""
    cores = sorted(os.sched_getaffinity(0))
    plain = ("--no-dashboard", "--host", "127.0.0.1")
    one = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--resources", "retrain=1")
    commands: list[Sequence[str]] = [(DASK, "scheduler", *plain, "--port", str(PORT))]
    for number in range(workers):
        pinned = ("taskset", "-c", str(cores[number % len(cores)]))
        place = ("--local-directory", str(folder / f"w{number}"), "--name", f"w{number}")
        commands.append((*pinned, DASK, "worker", f"tcp://{ADDRESS}", *plain, *one, *place))
    log = subprocess.DEVNULL
    running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def spec(number: int) -> dict[str, Any]:
    return {
        "slot": "BTC-5m",
        "interval": "5m",
        "horizon_bars": 12,
        "threshold": "auto",
        "at_ms": AT_MS + number * 60_000,
        "python": sys.executable,
        "onnx_python": sys.executable,
        "jobs": 1,
        "backtest": True,
    }


async def retrain_all(jobs: Jobs, count: int, bars: int, at_once: int) -> list[float]:
    """Run `count` retrains, `at_once` at a time; return the seconds of each."""
    places, frame = asyncio.Semaphore(at_once), planted(bars, 1)

    async def one(number: int) -> float:
        async with places:
            began = time.monotonic()
            await jobs.retrain(f"job-{number}", spec(number), frame, lambda _: None)
            jobs.discard(f"job-{number}")
            return time.monotonic() - began

    return list(await asyncio.gather(*map(one, range(count))))


async def over_workers(folder: Path, workers: int, count: int, bars: int) -> float:
    """Return the wall time of all jobs, seconds."""
    with cluster(folder, workers):
        async with open_jobs(settings(folder, f"dask://{ADDRESS}"), folder, SystemClock()) as jobs:
            while jobs.remote_places < workers:
                await asyncio.sleep(0.1)
            began = time.monotonic()
            await retrain_all(jobs, count, bars, workers)
            return time.monotonic() - began


async def pairs(folder: Path, count: int, bars: int) -> tuple[list[float], list[float]]:
    """Run jobs in turn on a worker and in a child of this host, one core each; return seconds."""
    cores, there, here = os.sched_getaffinity(0), list[float](), list[float]()
    with cluster(folder, 1):
        ours, theirs = settings(folder, "local"), settings(folder, f"dask://{ADDRESS}")
        async with (
            open_jobs(theirs, folder, SystemClock()) as remote,
            open_jobs(ours, folder, SystemClock()) as local,
        ):
            while not remote.remote_places:
                await asyncio.sleep(0.1)
            for _ in range(count):
                there += await retrain_all(remote, 1, bars, 1)
                os.sched_setaffinity(0, {min(cores)})
                here += await retrain_all(local, 1, bars, 1)
                os.sched_setaffinity(0, cores)
    return there, here


def settings(folder: Path, backend: str) -> Config:
    section = RetrainSection(backend=backend, nice=0)
    return Config(daemon=DaemonSection(data_dir=str(folder.parent)), retrain=section)


async def measure(count: int, bars: int, paired: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data" / "jobs"
        folder.mkdir(parents=True)
        there, here = await pairs(folder, paired, bars)
        one, two = [await over_workers(folder, workers, count, bars) for workers in (1, 2)]
    return {
        "jobs": count,
        "bars": bars,
        "one_worker_s": one,
        "two_workers_s": two,
        "efficiency": one / (2 * two),
        "pairs": paired,
        "remote_median_s": median(there),
        "local_median_s": median(here),
        "overhead_s": median(a - b for a, b in zip(there, here, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--bars", type=int, default=800)
    parser.add_argument("--pairs", type=int, default=6, help="jobs there and here in turn")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = asyncio.run(measure(asked.jobs, asked.bars, asked.pairs))
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{found['jobs']} retrains of {found['bars']} bars")
    print(f"one worker   {found['one_worker_s']:.1f} s")
    print(f"two workers  {found['two_workers_s']:.1f} s")
    print(f"efficiency   {found['efficiency']:.2f} (at least 0.8)")
    print(f"overhead     {found['overhead_s']:.2f} s a job (below 1 s)")


if __name__ == "__main__":
    main()
