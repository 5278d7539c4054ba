"""Wall time of retrains over one and two workers of a Dask cluster, and what a cluster costs a job.

    python -m benchmarks.backend [--jobs 40] [--bars 800] [--json]

In one run: the jobs over one worker of one core, over two, and a few in children of this host.
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
LOCAL_JOBS = 6
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


async def over_workers(folder: Path, workers: int, count: int, bars: int) -> dict[str, Any]:
    with cluster(folder, workers):
        async with open_jobs(settings(folder, f"dask://{ADDRESS}"), folder, SystemClock()) as jobs:
            while jobs.remote_places < workers:
                await asyncio.sleep(0.1)
            began = time.monotonic()
            each = await retrain_all(jobs, count, bars, workers)
            return {"wall_s": time.monotonic() - began, "median_s": median(each)}


async def alone(folder: Path, bars: int) -> float:
    """Return the median time of a retrain in a child of this host, on one core too."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        async with open_jobs(settings(folder, "local"), folder, SystemClock()) as jobs:
            return median(await retrain_all(jobs, LOCAL_JOBS, bars, 1))
    finally:
        os.sched_setaffinity(0, cores)


def settings(folder: Path, backend: str) -> Config:
    section = RetrainSection(backend=backend, nice=0)
    return Config(daemon=DaemonSection(data_dir=str(folder.parent)), retrain=section)


async def measure(count: int, bars: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data" / "jobs"
        folder.mkdir(parents=True)
        one, two = [await over_workers(folder, workers, count, bars) for workers in (1, 2)]
        here_s = await alone(folder, bars)
    return {
        "jobs": count,
        "bars": bars,
        "one_worker": one,
        "two_workers": two,
        "efficiency": one["wall_s"] / (2 * two["wall_s"]),
        "local_median_s": here_s,
        "overhead_s": one["median_s"] - here_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--bars", type=int, default=800)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = asyncio.run(measure(asked.jobs, asked.bars))
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{found['jobs']} retrains of {found['bars']} bars")
    print(f"one worker   {found['one_worker']['wall_s']:.1f} s")
    print(f"two workers  {found['two_workers']['wall_s']:.1f} s")
    print(f"efficiency   {found['efficiency']:.2f} (at least 0.8)")
    print(f"overhead     {found['overhead_s']:.2f} s a job (below 1 s)")


if __name__ == "__main__":
    main()
