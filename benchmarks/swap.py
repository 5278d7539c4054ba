"""A thousand swaps under load, with `kill -9` landing on daemon, bot or broker.

A bot predicts on every bar while a daemon's registry, serving and coordinator swap its
model through a real mosquitto. Beside it runs the peer: a bot that looks at the file on
every bar and reloads with `joblib.load` in its own loop. Both answer the same bars.

    python -m benchmarks.swap --swaps 1000 --kills 60 --json
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.swap_cast import SLOT, rows
from daemon.admission import GATES
from daemon.registry import Registry
from daemon.signing import Signer, generate
from retrain import artifact, features

VICTIMS = ("daemon", "bot", "broker")
START_MS = 1_750_000_000_000
SETTLE_S = 120.0
# A model may be overtaken while a bot checks it: it is live for at most so long then.
OVERTAKEN_S = 5.0


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


# -- what is swapped ---------------------------------------------------------------------


def prepare(folder: Path, settings: Settings) -> dict[str, np.ndarray]:
    """Adopt versions of real forests; return what each must answer to the benchmark's rows."""
    generate(folder / "hyperdrift.key", folder / "hyperdrift.pub")
    registry = Registry(folder / "models", Signer.load(folder / "hyperdrift.key"))
    rng = np.random.default_rng(settings.seed)
    names = list(features.NAMES)
    x = pd.DataFrame(rng.normal(size=(3000, len(names))), columns=names)
    asked = pd.DataFrame(rows(), columns=names)
    expected = {}
    for number in range(settings.versions):
        y = np.clip(np.round(x["mom_1"] + rng.normal(size=len(x))) + 1, 0, 2).astype(int)
        model = estimator(settings.trees, number).fit(x, y)
        manifest = write(folder / "candidates", number, model, asked)
        model_id = registry.adopt(SLOT, manifest)
        expected[model_id] = model.predict_proba(asked)
        if number == 0:
            registry.deploy(SLOT, model_id, reason="first", by="benchmark", at_ms=START_MS)
    return expected


def estimator(trees: int, seed: int) -> Any:
    if trees:
        return RandomForestClassifier(trees, max_depth=10, min_samples_leaf=20, random_state=seed)
    return make_pipeline(StandardScaler(), LogisticRegression())


def write(folder: Path, number: int, model: Any, golden: pd.DataFrame) -> Path:
    version = artifact.Version(
        at_ms=START_MS + number * 60_000,
        slot=str(SLOT),
        interval=SLOT.interval,
        model=model,
        feature_cols=features.NAMES,
        schema_hash=features.schema_hash(),
        up=0.4,
        down=0.4,
        horizon_bars=12,
        threshold=0.005,
        trained_to_ms=START_MS,
        golden_rows=golden.to_numpy(),
        golden_probabilities=model.predict_proba(golden),
    )
    gates = [{"name": name, "passed": True} for name in sorted(GATES)]
    meta: dict[str, Any] = {
        "passed": True,
        "promoted_by": None,
        "gates": gates,
        "scores": {"test": {}},
    }
    artifact.write(folder, version, meta, "<p>a report</p>")
    return folder / artifact.manifest_name(version.model_id)


# -- the processes -----------------------------------------------------------------------


class Stage:
    """Starts, kills and restarts; every process has a diary that outlives it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        config = f"listener {self._port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        (folder / "mosquitto.conf").write_text(config)
        os.mkfifo(folder / "orders")
        self._orders = os.open(folder / "orders", os.O_RDWR)
        self._nursery = self._open_nursery()
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
        self._nursery.kill()
        self._nursery.communicate()
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
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(role.encode() + b"\n")
        self._nursery.stdin.flush()
        return int(self._nursery.stdout.readline())

    def _open_nursery(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.swap_cast"]
        command += ["--folder", str(self._folder), "--bar-s", str(self._settings.bar_s)]
        command += ["--broker", f"mqtt://127.0.0.1:{self._port}"]
        # One thread each: a library's pool of threads does not survive a fork.
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
    """Kill a process and wait until it is gone; the nursery reaps it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.001)


class Pointer:
    """Every value that LATEST.json ever had, and since when."""

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
    """Follows a diary."""

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
        """Whether it came back to the broker after that moment, and is there."""
        return self._connected_ns > ns


# -- the play ----------------------------------------------------------------------------


@dataclass
class Record:
    undisturbed: list[tuple[int, int]] = field(default_factory=list)  # order, acknowledgement
    undisturbed_ms: list[float] = field(default_factory=list)
    disturbed_ms: dict[str, list[float]] = field(
        default_factory=lambda: {role: [] for role in VICTIMS}
    )
    load_ms: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def play(stage: Stage, pointer: Pointer, daemon: Reader, bot: Reader, settings: Settings) -> Record:
    """Order swap after swap and wait until the bot has what the registry calls live."""
    rng, record = random.Random(settings.seed), Record()
    targets = sorted(
        p.stem.removeprefix("manifest_") for p in pointer.path.parent.glob("manifest_*")
    )
    fatal = set(rng.sample(range(settings.swaps), settings.kills))
    for number in range(settings.swaps):
        stage.check()
        target = rng.choice([t for t in targets if t != pointer.now])
        began = time.monotonic_ns()
        stage.order(target)
        victim = ""
        if number in fatal:
            victim = VICTIMS[len(stage.deaths) % 3]
            time.sleep(rng.uniform(0.0, 0.4))
            stage.kill(victim)
            time.sleep(rng.uniform(0.0, 0.5))
            stage.start(victim)
        settle(pointer, daemon, record, began, target, victim=victim)
        if victim:
            whole(stage, daemon, bot)
        time.sleep(rng.uniform(0.0, 0.1))
    return record


def whole(stage: Stage, daemon: Reader, bot: Reader) -> None:
    """Wait until everybody is back at the broker after the last death."""
    died_ns, victim = stage.deaths[-1]
    waiting = {"daemon": [daemon], "bot": [bot], "broker": [daemon, bot]}[victim]
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        daemon.new()
        bot.new()
        if all(reader.connected_since(died_ns) for reader in waiting):
            return
        time.sleep(0.01)
    raise SystemExit(f"not everybody came back after the {victim} died")


def settle(
    pointer: Pointer,
    daemon: Reader,
    record: Record,
    began: int,
    target: str,
    *,
    victim: str,
) -> None:
    """Wait until a bot has acknowledged what the pointer says."""
    deadline = time.monotonic() + SETTLE_S
    restarted = False
    while time.monotonic() < deadline:
        for line in daemon.new():
            if line["event"] == "ready":
                restarted = True
            if line["event"] == "changed" and not line["ok"]:
                record.failed.append(line["error"])
                return
            if line["event"] != "ack":
                continue
            if line["status"] == "refused":
                record.refused.append(line["error"])
                continue
            if line["model"] != pointer.now or (line["model"] != target and not restarted):
                continue
            if victim:
                record.disturbed_ms[victim].append((time.monotonic_ns() - began) / 1e6)
            else:
                record.undisturbed.append((began, line["ns"]))
                record.undisturbed_ms.append(line["took_ms"])
                record.load_ms.append(line["load_ms"])
            return
        time.sleep(0.002)
    raise SystemExit(f"no bot took {target} within {SETTLE_S:g} s")


# -- what the diaries prove --------------------------------------------------------------


def lives(lines: list[dict[str, Any]], deaths: list[int], end_ns: int) -> Iterator[list[Any]]:
    """Part a diary into lives: (ready line, lines, end of life)."""
    starts = [i for i, line in enumerate(lines) if line["event"] == "ready"]
    for here, there in zip(starts, [*starts[1:], len(lines)], strict=True):
        until = next((d for d in deaths if d > lines[here]["ns"]), end_ns)
        yield [lines[here], lines[here:there], until]


def answers(
    lines: list[dict[str, Any]], deaths: list[int], end_ns: int, bar_s: float
) -> dict[str, Any]:
    """Count the bars that a living bot left unanswered, and how late the others were."""
    bar_ns, unanswered, behind, total = round(bar_s * 1e9), 0, 0, 0
    late: list[float] = []
    for ready, said, until in lives(lines, deaths, end_ns):
        answered = {
            line["bar"]: line["ns"] for line in said if line["event"] == "answer" and line["model"]
        }
        last = max(answered, default=ready["bar"] - 1)
        # A machine that is too busy makes a bot answer late; what it died before is not lost.
        behind += max(0, until // bar_ns - last - 1)
        due = range(ready["bar"], last + 1)
        unanswered += sum(bar not in answered for bar in due)
        late += [(answered[bar] - bar * bar_ns) / 1e6 for bar in due if bar in answered]
        total += len(due)
    return {
        "bars": total,
        "unanswered": unanswered,
        "behind_at_death": behind,
        "answer_ms": percentiles(late),
        "answered_after_the_next_bar": sum(ms > bar_s * 1000 for ms in late),
    }


def stalls(lines: list[dict[str, Any]], swaps: list[tuple[int, int]]) -> dict[str, Any]:
    """Part the loop's stalls into those during a swap that nobody disturbed and the others."""
    starts = np.array([began for began, _ in swaps])
    during, elsewhere = [0.0], [0.0]
    for line in lines:
        if line["event"] == "stall":
            at = int(np.searchsorted(starts, line["ns"])) - 1
            within = at >= 0 and line["ns"] <= swaps[at][1]
            (during if within else elsewhere).append(line["late_ms"])
    return {
        name: {"over_50": sum(ms > 50 for ms in found), "max": round(max(found), 1)}
        for name, found in (("at_swaps", during), ("elsewhere", elsewhere))
    }


def torn(lines: list[dict[str, Any]], expected: dict[str, np.ndarray]) -> int:
    """Count answers that are not exactly what the model they name gives."""
    wrong = 0
    for line in lines:
        if line["event"] == "answer":
            table = expected.get(line["model"])
            row = table[line["bar"] % len(table)] if table is not None else None
            wrong += row is None or not np.allclose(row, line["p"], rtol=0, atol=1e-12)
    return wrong


def takeovers(lines: list[dict[str, Any]], history: list[tuple[int, str]]) -> dict[str, Any]:
    """Hold each model that the bot took against what LATEST.json said just then."""
    never, overtaken, before = 0, [0.0], None
    for line in lines:
        if line["event"] == "ready":
            before = None
        if line["event"] != "answer" or line["model"] == before:
            continue
        before, at = line["model"], line["ns"]
        left = [
            there
            for (here, name), (there, _) in zip(history, [*history[1:], (at + 1, "")], strict=True)
            if name == line["model"] and here <= at
        ]
        if not left:
            never += 1
            continue
        gone = max(0, at - left[-1]) / 1e6
        overtaken.append(gone)
        never += gone > OVERTAKEN_S * 1000
    return {"not_called_live": never, "longest_overtaken_ms": round(max(overtaken), 1)}


def percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(values), 2)}


def run(folder: Path, settings: Settings) -> dict[str, Any]:
    expected = prepare(folder, settings)
    stage, daemon = Stage(folder, settings), Reader(folder / "daemon.jsonl")
    pointer = Pointer(folder / "models" / str(SLOT) / "LATEST.json")
    began = time.monotonic()
    try:
        cast = ["broker", "daemon", "bot", *(["peer"] if settings.peer else [])]
        for role in cast:
            stage.start(role)
        stage.load()
        settle(pointer, daemon, Record(), time.monotonic_ns(), pointer.now, victim="daemon")
        record = play(stage, pointer, daemon, Reader(folder / "bot.jsonl"), settings)
        time.sleep(0.5)
        end_ns = time.monotonic_ns()
    finally:
        stage.stop()
        pointer.stop()
    return report(
        folder=folder,
        settings=settings,
        stage=stage,
        pointer=pointer,
        record=record,
        expected=expected,
        end_ns=end_ns,
    ) | {"seconds": round(time.monotonic() - began, 1)}


def report(
    *,
    folder: Path,
    settings: Settings,
    stage: Stage,
    pointer: Pointer,
    record: Record,
    expected: dict[str, np.ndarray],
    end_ns: int,
) -> dict[str, Any]:
    size = sum(f.stat().st_size for f in pointer.path.parent.glob("*.joblib")) / settings.versions
    found: dict[str, Any] = {
        "load_average": [round(x, 1) for x in os.getloadavg()],
        "swaps": len(record.undisturbed_ms) + sum(map(len, record.disturbed_ms.values())),
        "kills": {
            role: sum(r == role for _, r in stage.deaths) for role in ("daemon", "bot", "broker")
        },
        "model_mib": round(size / 2**20, 2),
        "order_to_ack_ms": percentiles(record.undisturbed_ms),
        "load_ms": percentiles(record.load_ms),
        "order_to_ack_over_a_kill_ms": {
            victim: percentiles(took) for victim, took in record.disturbed_ms.items()
        },
        "refused": record.refused,
        "failed": record.failed,
    }
    for role in ("bot", "peer") if settings.peer else ("bot",):
        diary = Reader(folder / f"{role}.jsonl")
        lines = diary.new()
        deaths = [ns for ns, victim in stage.deaths if victim == role]
        found[role] = answers(lines, deaths, end_ns, settings.bar_s)
        found[role]["loop_stall_ms"] = stalls(lines, record.undisturbed)
        found[role] |= {"torn": torn(lines, expected), **takeovers(lines, pointer.history)}
        if role == "peer":
            found[role]["failed_reloads"] = sum(line["event"] == "failed" for line in lines)
            found[role]["load_ms"] = percentiles(
                [x["load_ms"] for x in lines if x["event"] == "reloaded"]
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--trees", type=int, default=0, help="forests, not logistic")
    parser.add_argument("--load", type=int, default=2)
    parser.add_argument("--bar-s", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-peer", dest="peer", action="store_false")
    parser.add_argument("--keep", type=Path, help="a folder for the diaries, to look into")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json, keep = options.pop("json"), options.pop("keep")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        if keep is None:
            keep = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swap-")))
        keep.mkdir(parents=True, exist_ok=True)
        found = run(keep, Settings(**options))
    print(json.dumps(found, indent=None if as_json else 2))


if __name__ == "__main__":
    main()
