"""A scheduler and workers of Dask on this host, and what they themselves noted of their jobs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.ports import free_port
from tests.system.exchange_process import ROOT

DASK = str(Path(sys.executable).with_name("dask"))
# Commands and workers import this code, wherever they run.
PATHS = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}"}
WAIT_S = 120
# Waits for the workers, then prints what all workers have noted: the scheduler keeps it.
_RECORD = """
import json, sys
from distributed import Client
with Client(sys.argv[1], timeout=60) as client:
    client.wait_for_workers(int(sys.argv[2]), timeout=60)
    names = {a: str(w["name"]) for a, w in client.scheduler_info(n_workers=-1)["workers"].items()}
    noted = [said for _, said in client.get_events("hyperdrift-progress")]
    print(json.dumps({"names": names, "noted": noted}))
"""


@dataclass(frozen=True)
class Attempt:
    """A job that a worker began; `made` says that it made a candidate there."""

    job: str
    worker: str
    made: bool


class DaskCluster:
    """The processes, each with a folder and a log; `address` is what `--backend` takes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._names: dict[str, str] = {}
        self.address = f"dask://127.0.0.1:{self._port}"
        self._scheduler = f"tcp://127.0.0.1:{self._port}"

    @classmethod
    @contextmanager
    def running(cls, folder: Path, workers: Sequence[str]) -> Iterator[Self]:
        """Keep a scheduler and workers running during the block."""
        folder.mkdir()
        cluster = cls(folder)
        try:
            cluster._start("scheduler", "--port", str(cluster._port), "--no-show")
            for name in workers:
                cluster.begin(name)
            cluster.attempts()  # it waits for them, and learns their names
            yield cluster
        finally:
            for process in cluster._processes.values():
                process.kill()
                process.wait()

    def begin(self, name: str) -> None:
        """Start a worker that does one job at a time."""
        one = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--resources", "retrain=1")
        place = ("--local-directory", str(self._folder / name), "--name", name)
        self._start(name, self._scheduler, *one, *place)

    def kill_a_busy_one(self) -> str:
        """Wait until a worker has a job and kill it as a power cut does; return its name."""
        deadline = time.monotonic() + WAIT_S
        while not (busy := self._busy()):
            assert time.monotonic() < deadline, "no worker got a job"
            time.sleep(0.05)
        self._processes[busy[0]].kill()
        self._processes[busy[0]].wait()
        return busy[0]

    def wait_idle(self) -> None:
        """Wait until no worker has a job any more."""
        deadline = time.monotonic() + WAIT_S
        while busy := self._busy():
            assert time.monotonic() < deadline, f"{busy} still work"
            time.sleep(0.1)

    def attempts(self) -> list[Attempt]:
        """Return the jobs that workers began, as they noted it themselves, oldest first."""
        command = (sys.executable, "-c", _RECORD, self._scheduler, str(len(self._workers())))
        done = subprocess.run(command, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stderr
        record, found = json.loads(done.stdout), dict[str, Attempt]()
        self._names |= record["names"]
        for noted in record["noted"]:
            key, worker = noted["key"], self._names[noted["worker"]]
            made = json.loads(noted["line"] or "{}").get("step") == "done"
            if key in found:
                made |= found[key].made
            job, _, _ = key.removeprefix("hyperdrift-").rpartition("-")
            found[key] = Attempt(job, worker, made)
        return list(found.values())

    def _start(self, name: str, *arguments: str) -> None:
        role = name if name == "scheduler" else "worker"
        command = (DASK, role, *arguments, "--host", "127.0.0.1", "--no-dashboard")
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, env=os.environ | PATHS
            )

    def _workers(self) -> list[str]:
        running = (n for n, process in self._processes.items() if process.poll() is None)
        return [name for name in running if name != "scheduler"]

    def _busy(self) -> list[str]:
        """Return the workers that have a job: it has a folder of its own there."""
        return [
            name
            for name in self._workers()
            if any((self._folder / name).glob("**/hyperdrift-*/job.json"))
        ]
