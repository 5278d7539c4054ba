"""The daemon's side of the test of a cluster: it runs retrains, and watches its event loop.

    python -m tests.system.fleet_daemon RESULT FOLDER BACKEND SLOTS ROUNDS

Writes one JSON document into RESULT: what each retrain made, what was logged, and how long the loop
was held.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import structlog

from daemon.config.schema import Config, DaemonSection, RetrainSection
from daemon.fleet.opening import open_jobs
from daemon.registry.registry import Registry
from daemon.training.jobs import JobOutcome, Jobs
from hyperdrift.clock import SystemClock
from hyperdrift.process.loading import freeze_gc
from hyperdrift.slot_name import SlotName
from tests.retrain.planted import planted

BARS = 800
AT_MS = 1_760_000_000_000
AT_ONCE = 3
TICK_MS = 5.0


class LoopWatch:
    """How long the event loop was held: by its own work, or by anything but a busy host.

    Time in which a thread of this process waited for a processor is left out, also of the other
    threads: the loop waits for one of them that has the interpreter's lock and no processor.
    """

    def __init__(self) -> None:
        self.longest_ms = 0.0

    async def run(self) -> None:
        """Tick until cancelled."""
        at, worked, waited = _now_ms()
        while True:
            await asyncio.sleep(TICK_MS / 1000)
            ticked, works, waits = _now_ms()
            elsewhere = max(0.0, waits - waited)  # a thread that ended takes its time with it
            held = max(works - worked, ticked - at - elsewhere - TICK_MS)
            self.longest_ms = max(self.longest_ms, held)
            at, worked, waited = ticked, works, waits


def _now_ms() -> tuple[float, float, float]:
    """Return the time, what this thread worked, and what all threads waited for a processor."""
    waited = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            waited += int(path.read_text().split()[1])
    return time.monotonic() * 1000, time.thread_time() * 1000, waited / 1e6


def spec(slot: str, round_: int) -> dict[str, Any]:
    """Return a job that is as small as a real retrain can be."""
    return {
        "slot": slot,
        "interval": "5m",
        "horizon_bars": 12,
        "threshold": "auto",
        "at_ms": AT_MS + round_ * 60_000,
        "python": sys.executable,
        "onnx_python": sys.executable,
        "jobs": 1,
        "backtest": (slot, round_) != ("C0-5m", 0),  # it leaves out the portable form
    }


def digests(outcome: JobOutcome) -> dict[str, str]:
    """Return the digest of each form of the model, by its ending."""
    return {
        path.suffix: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in outcome.folder.iterdir()
        if path.suffix in {".joblib", ".onnx"}
    }


class Fleet:
    """Slots that retrain over and over."""

    def __init__(self, folder: Path, slots: int) -> None:
        coins = [f"C{i}" for i in range(slots)]
        self.frames = {f"{coin}-5m": planted(BARS, i) for i, coin in enumerate(coins)}
        self.registry = Registry(folder / "models")
        self.places = asyncio.Semaphore(AT_ONCE)
        self.made: list[dict[str, Any]] = []

    async def retrain(self, jobs: Jobs, slot: str, round_: int) -> None:
        """Run one retrain and adopt what it made."""
        async with self.places:
            job = f"{slot}-{round_}"
            outcome = await jobs.retrain(job, spec(slot, round_), self.frames[slot], lambda _: None)
            found = await asyncio.to_thread(digests, outcome)
            name = SlotName.parse(slot)
            adopted = await asyncio.to_thread(self.registry.adopt, name, outcome.manifest)
            await asyncio.to_thread(jobs.discard, job)
        gates = [gate["name"] for gate in outcome.gates]
        self.made.append(
            {"slot": slot, "round": round_, "model_id": adopted, "digests": found, "gates": gates}
        )
        sys.stderr.write(f"done {len(self.made)}\n")

    def versions(self) -> dict[str, int]:
        """Return how many versions each slot has."""
        return {slot: len(self.registry.versions(SlotName.parse(slot))) for slot in self.frames}


async def main(folder: Path, backend: str, slots: int, rounds: int) -> dict[str, Any]:
    """Retrain every slot `rounds` times; return what happened."""
    fleet, watch = await asyncio.to_thread(Fleet, folder, slots), LoopWatch()
    freeze_gc()  # as the daemon does it
    section = RetrainSection(backend=backend, nice=0, timeout_s=300.0)
    config = Config(daemon=DaemonSection(data_dir=str(folder)), retrain=section)
    with structlog.testing.capture_logs() as logs:
        async with open_jobs(config, folder / "jobs", SystemClock()) as jobs:
            ticking = asyncio.create_task(watch.run())
            async with asyncio.TaskGroup() as tasks:
                for round_ in range(rounds):
                    for slot in fleet.frames:
                        tasks.create_task(fleet.retrain(jobs, slot, round_))
            ticking.cancel()
    return {
        "made": fleet.made,
        "versions": fleet.versions(),
        "held_ms": watch.longest_ms,
        "logs": [{**line, "worker": str(line.get("worker", ""))} for line in logs],
    }


if __name__ == "__main__":
    result, where, name, slots, rounds = sys.argv[1:]
    happened = asyncio.run(main(Path(where), name, int(slots), int(rounds)))
    Path(result).write_text(json.dumps(happened, default=str))
