"""The processes of `benchmarks.swap`: the daemon's side, a bot, and a peer for comparison.

Each may be killed with SIGKILL at any moment, so it appends each line to its log file in one
write. All are forked from a parent that has imported their libraries. So the time after a kill
is the recovery without the import of scikit-learn.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from daemon.core import logs
from daemon.core.clock import VenueClock
from daemon.mqtt.messages import encode
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer
from daemon.runtime.serving import Serving
from daemon.runtime.swap import SwapCoordinator
from hyperdrift import loaded_model
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot import ModelSlot, NoModel
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from retrain import features

SLOT = SlotName("BTC", "5m")
PROBE_S = 0.005


def rows() -> np.ndarray:
    return np.random.default_rng(7).normal(size=(32, 17))


class LogFile:
    """A file of JSON lines; a SIGKILL leaves no incomplete line."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, **fields: Any) -> None:
        os.write(self._file, json.dumps({"ns": time.monotonic_ns(), **fields}).encode() + b"\n")


async def daemon(options: argparse.Namespace, log_file: LogFile) -> None:
    """Run the daemon's side of a swap: registry, serving and swaps; read orders from a pipe."""
    clock, topics = SystemClock(), Topics()
    bus = MqttConnection(BrokerAddress.parse(options.broker), clock, encode=encode)
    signer = Signer.load(options.folder / "hyperdrift.key")
    registry = Registry(options.folder / "models", signer)

    def acknowledged(_slot: SlotName, ack: Any, took: float) -> None:
        log_file.write(
            event="ack",
            model=ack.model_id,
            status=ack.status,
            error=ack.error,
            took_ms=took,
            load_ms=ack.load_ms,
        )

    def silent(_slot: SlotName, text: str) -> None:
        log_file.write(event="silence", text=text)

    swap = SwapCoordinator(
        bus, topics, clock, on_ack=acknowledged, on_silence=silent, signer=signer
    )
    swap.watch(SLOT)
    serving = Serving(SLOT, registry, swap, clock=clock, venue=VenueClock(clock, 1.0))
    orders = await open_orders(options.folder / "orders")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bus.run())
        tasks.create_task(swap.run())
        tasks.create_task(watch_connection(bus, log_file))
        await serving.resume(None, None)
        log_file.write(event="ready")
        async for line in orders:
            target = json.loads(line)["deploy"]
            done = await serving.change(deploy(target))
            ok = isinstance(done, events.ModelServed)
            log_file.write(event="changed", model=target, ok=ok, error=getattr(done, "error", ""))


async def open_orders(pipe: Path) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    file = os.fdopen(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


def deploy(model_id: str) -> actions.Deploy:
    return actions.Deploy(
        slot=str(SLOT), at_ms=0, job_id="", model_id=model_id, trigger="command", reason="benchmark"
    )


async def bot(options: argparse.Namespace, log_file: LogFile) -> None:
    """Run a bot that asks its `ModelSlot` on every bar."""
    slot = ModelSlot(
        options.broker,
        str(SLOT),
        bot_id="bench",
        public_key=options.folder / "hyperdrift.pub",
        models_dir=options.folder / "models",
    )
    await slot.start(wait_s=60.0)
    probes = (
        asyncio.create_task(watch_stalls(log_file)),
        asyncio.create_task(watch_connection(slot, log_file)),
    )

    def ask(row: list[float]) -> tuple[str, list[float]]:
        try:
            made = slot.predict(row)
        except NoModel:
            return "", []
        return made.model_id, [made.p_down, made.p_neutral, made.p_up]

    await answer_bars(options.bar_s, ask, log_file)
    await asyncio.gather(*probes)


async def peer(options: argparse.Namespace, log_file: LogFile) -> None:
    """Run a usual bot: it checks the file on every bar and loads a new one in its loop."""
    pointer = options.folder / "models" / str(SLOT) / "LATEST.json"
    probe = asyncio.create_task(watch_stalls(log_file))
    names = list(features.NAMES)
    seen: list[Any] = [None, None, ""]

    def ask(row: list[float]) -> tuple[str, list[float]]:
        stamp = pointer.stat().st_mtime_ns
        if stamp != seen[0]:
            seen[0] = stamp
            try:
                latest = json.loads(pointer.read_text())
                began = time.monotonic_ns()
                seen[1] = joblib.load(pointer.parent / latest["meta_classifier"])
                seen[2] = latest["model_id"]
                took = (time.monotonic_ns() - began) / 1e6
                log_file.write(event="reloaded", model=seen[2], load_ms=took)
            except Exception as e:  # noqa: BLE001 - a half-written file may raise any error
                log_file.write(event="failed", error=f"{type(e).__name__}: {e}")
        p = seen[1].predict_proba(pd.DataFrame([row], columns=names))[0]
        return seen[2], [float(x) for x in p]

    await answer_bars(options.bar_s, ask, log_file)
    await probe


async def answer_bars(bar_s: float, ask: Any, log_file: LogFile) -> None:
    """Predict every bar in order, even if late; the number of a bar counts from boot."""
    bar_ns = round(bar_s * 1e9)
    inputs = rows().tolist()
    bar = time.monotonic_ns() // bar_ns + 1
    log_file.write(event="ready", bar=bar)
    while True:
        await asyncio.sleep(max(0.0, (bar * bar_ns - time.monotonic_ns()) / 1e9))
        model, p = ask(inputs[bar % len(inputs)])
        log_file.write(event="answer", bar=bar, model=model, p=p)
        bar += 1


async def watch_stalls(log_file: LogFile) -> None:
    """Log each time that the event loop wakes up more than 5 ms late."""
    while True:
        began = time.monotonic_ns()
        await asyncio.sleep(PROBE_S)
        late = (time.monotonic_ns() - began) / 1e6 - PROBE_S * 1e3
        if late > 5.0:
            log_file.write(event="stall", late_ms=late)


async def watch_connection(client: MqttConnection | ModelSlot, log_file: LogFile) -> None:
    """Log each time that the connection to the broker begins or ends."""
    before = False
    while True:
        if client.connected != before:
            before = client.connected
            log_file.write(event="connected" if before else "lost")
        await asyncio.sleep(0.01)


async def load(_options: argparse.Namespace, _log_file: LogFile) -> None:
    """Keep one core busy like a retrain, with the same niceness."""
    os.nice(10)
    while True:
        np.linalg.svd(np.random.default_rng(0).normal(size=(200, 200)))


ROLES = {"daemon": daemon, "bot": bot, "peer": peer, "load": load}


def act(role: str, options: argparse.Namespace) -> None:
    """Run one of the processes until killed."""
    log = os.open(options.folder / f"{role}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    logs.configure()
    try:
        asyncio.run(ROLES[role](options, LogFile(options.folder / f"{role}.jsonl")))
    except BaseException:  # noqa: BLE001 - the process ends after it
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Fork a process for each role that a line of standard input names, and print its pid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--broker", default="")
    parser.add_argument("--bar-s", type=float, default=0.05)
    options = parser.parse_args()
    loaded_model.preload()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            act(line.strip(), options)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
