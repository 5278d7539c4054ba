"""Start the processes of `benchmarks.swap`, and read their pointer and their log files."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

VICTIMS = ("daemon", "bot", "broker")


@dataclass
class Settings:
    swaps: int = 1000
    kills: int = 60
    trees: int = 0
    versions: int = 12
    load: int = 2
    bar_s: float = 0.1
    seed: int = 0
    peer: bool = True


class SwapSetup:
    """Starts, kills and restarts the processes; each keeps its log file over restarts."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        self._port = free_port()
        config = f"listener {self._port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        (folder / "mosquitto.conf").write_text(config)
        os.mkfifo(folder / "orders")
        self._orders = os.open(folder / "orders", os.O_RDWR)
        self._parent = self._open_parent()
        self._broker: subprocess.Popen[bytes] | None = None
        self._pids: dict[str, int] = {}
        self._load: list[int] = []
        self.deaths: list[tuple[int, str]] = []

    def start(self, role: str) -> None:
        if role == "broker":
            found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
            if found is None:
                raise SystemExit("mosquitto is not installed: apt install mosquitto")
            with (self._folder / "broker.log").open("ab") as log:
                command = [found, "-c", str(self._folder / "mosquitto.conf")]
                self._broker = subprocess.Popen(command, stdout=log, stderr=log)
        else:
            self._pids[role] = self._fork(role)

    def load(self) -> None:
        self._load = [self._fork("load") for _ in range(self._settings.load)]

    def kill(self, role: str) -> None:
        if role == "broker":
            assert self._broker is not None
            self._broker.kill()
            self._broker.wait()
        else:
            end(self._pids[role])
        self.deaths.append((time.monotonic_ns(), role))

    def order(self, model_id: str) -> None:
        os.write(self._orders, json.dumps({"deploy": model_id}).encode() + b"\n")

    def stop(self) -> None:
        for pid in [*self._load, *self._pids.values()]:
            end(pid)
        self._parent.kill()
        self._parent.communicate()
        os.close(self._orders)
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait()

    def check(self) -> None:
        for role, pid in self._pids.items():
            if not alive(pid):
                words = (self._folder / f"{role}.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"the {role} ended by itself:\n{words}")

    def _fork(self, role: str) -> int:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(role.encode() + b"\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def _open_parent(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.swap.processes"]
        command += ["--folder", str(self._folder), "--bar-s", str(self._settings.bar_s)]
        command += ["--broker", f"mqtt://127.0.0.1:{self._port}"]
        # One thread in each process, because a library's threads do not survive a fork.
        alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=os.environ | alone)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def end(pid: int) -> None:
    """Kill a process and wait until its parent has reaped it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.001)


class PointerHistory:
    """Every value of LATEST.json during the run, and the time since when it had it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history: list[tuple[int, str]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def now(self) -> str:
        return str(json.loads(self.path.read_text())["model_id"])

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        seen = 0
        while not self._done.wait(0.002):
            node = self.path.stat().st_ino
            if node != seen:
                seen, moved = node, time.monotonic_ns()
                if not self.history or self.history[-1][1] != self.now:
                    self.history.append((moved, self.now))


class Reader:
    """Reads a log file while it grows."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path, self._at, self._connected_ns = path, 0, 0

    def new(self) -> list[dict[str, Any]]:
        with self._path.open() as file:
            file.seek(self._at)
            lines = [json.loads(line) for line in file]
            self._at = file.tell()
        for line in lines:
            if line["event"] in {"connected", "lost"}:
                self._connected_ns = line["ns"] if line["event"] == "connected" else 0
        return lines

    def connected_since(self, ns: int) -> bool:
        """Return whether the process connected to the broker after `ns` and is connected."""
        return self._connected_ns > ns
