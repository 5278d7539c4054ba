"""The parts of `benchmarks.chaos`: exchange, broker, daemon, bot, listener and timeline."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.chaos.journal import Journal
from benchmarks.chaos.processes import KeptProcess
from benchmarks.chaos.verdicts import Occurrence
from daemon.core.bars import Bar, Funding, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.fault_script import read_script
from daemon.demo.faults import Fault
from daemon.demo.market import generate
from daemon.demo.recording import Recording
from daemon.hyperliquid.wire import decode_candles
from daemon.mqtt.messages import Command, encode
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer
from daemon.registry.signing import generate as generate_keys
from daemon.store.data_folder import open_store
from hyperdrift.clock import SystemClock
from hyperdrift.errors import HyperdriftError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from retrain.errors import RetrainError
from tests.daemon.versions import write_version
from tests.ports import free_port

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
START_MS = 1_750_032_000_000
HISTORY = 6_000
IMPORTED = HISTORY - 4_000
VERSIONS = 6
DISK_MIB = 96
WATCHDOG_S = 15.0
MEMORY_MIB, TOO_FEW_MIB = 4096, 300


@dataclass(frozen=True, slots=True)
class FaultDone:
    """A fault that was tried, except those of the exchange; `missed` says why it failed."""

    of: Occurrence
    missed: str = ""


@dataclass
class ChaosSetup:
    """Every process and folder that faults are done to, and the observations of them."""

    folder: Path
    recording: Recording
    speed: float
    port: int = 0
    began: float = field(default_factory=time.monotonic)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    faults_done: list[FaultDone] = field(default_factory=list)
    undamaged: list[tuple[float, Path]] = field(default_factory=list)
    """When the store was damaged, and its copy from before."""
    opened: float = 0.0
    daemon_was_ready: bool = False
    stop_s: float = 0.0
    retrained: str | None = None
    """The verdict of the retrain at the end; "" if it had none, None before it was asked for."""

    def __post_init__(self) -> None:
        self.port = free_port()
        self.data.mkdir(parents=True)
        self.registry = Registry(self.data / "models")
        self.journal = Journal(self.folder)

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    @property
    def data(self) -> Path:
        return self.disk / "data"

    @property
    def models(self) -> Path:
        return self.data / "models" / str(SLOT)

    @property
    def config(self) -> Path:
        return self.folder / "hyperdrift.toml"

    @property
    def broker_url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def public_key(self) -> Path:
        return self.data / "keys" / "hyperdrift.pub"

    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def manage(self, text: str, **fields: Any) -> None:
        """Write a line of the service manager to the journal."""
        self.journal.manage(text)
        self.note(text, **fields)

    def note(self, text: str, **fields: Any) -> None:
        """Write a line to the timeline, for people."""
        entry = {"at_s": round(self.elapsed(), 2), "wall": time.time(), "text": text, **fields}
        self.timeline.append(entry)
        with (self.folder / "timeline.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        extra = " ".join(f"{k}={v}" for k, v in fields.items() if k != "ours")
        print(f"{entry['at_s']:8.1f}  {text}  {extra}", file=sys.stderr, flush=True)

    async def open(self, plan_script: str) -> None:
        """Open the exchange with its faults, and make the processes without starting them."""
        faults: tuple[Fault, ...] = ()
        if plan_script:
            (self.folder / "faults.toml").write_text(plan_script)
            faults = read_script(self.folder / "faults.toml")
        start_ms = int(self.recording.t[HISTORY])
        # The bot has its own exchange, so that a fault of the first always meets the daemon.
        self.exchange, self.bots_exchange = (
            ReplayExchange(
                (self.recording,), SystemClock(), speed=self.speed, start_ms=start_ms, faults=faults
            )
            for _ in range(2)
        )
        await self.exchange.start()
        self.opened = time.time()
        await self.bots_exchange.start()
        self.write_config()
        self._make_units()

    def write_config(self, memory_mib: int = MEMORY_MIB) -> None:
        self.config.write_text(
            f'[daemon]\ndata_dir = "{self.data}"\n'
            f'[[slots]]\ncoin = "{SLOT.coin}"\ninterval = "{SLOT.interval}"\nhistory_days = 30\n'
            f'[hyperliquid]\nrest_url = "{self.exchange.url}"\nws_url = "{self.exchange.ws_url}"\n'
            f'speed = {self.speed}\n[mqtt]\nbroker = "{self.broker_url}"\n'
            f"[retrain]\ntimeout_s = 60\nmemory_mib = {memory_mib}\n"
            "[policy]\ncooldown_hours = 6\nmin_new_bars = 144\nretry_bars = 144\n"
            "probation_hours = 8\nmax_age_days = 0\n[gates]\ncalibrated = 0.1\n"
        )

    def _make_units(self) -> None:
        broker = self.folder / "mosquitto.conf"
        broker.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        mosquitto = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if mosquitto is None:
            raise SystemExit("mosquitto is not installed: apt install mosquitto")
        python, slot = sys.executable, str(SLOT)
        run = (python, "-m", "daemon.cli", "run", "--config", str(self.config))
        follow = (
            *(python, "-m", "benchmarks.chaos.bot", str(self.folder / "bot.diary")),
            *("--slot", slot, "--speed", str(self.speed), "--broker", self.broker_url),
            *("--venue-url", self.bots_exchange.url, "--ws-url", self.bots_exchange.ws_url),
            *("--public-key", str(self.public_key)),
        )
        self.broker = KeptProcess(
            "broker", (mosquitto, "-c", str(broker)), self.folder, self.manage
        )
        self.daemon = KeptProcess(
            "daemon",
            (*_without_root_rights(), *run),
            self.folder,
            self.manage,
            watchdog_s=WATCHDOG_S,
        )
        self.bot = KeptProcess("bot", follow, self.folder, self.manage)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the processes and listen to all messages, until the block ends."""
        tasks = [asyncio.create_task(unit.run()) for unit in (self.broker, self.daemon, self.bot)]
        self.listener = MqttConnection(
            BrokerAddress.parse(self.broker_url), SystemClock(), name="chaos", encode=encode
        )
        for name in ("event", "state", "command/reply"):
            self.listener.subscribe(f"hyperdrift/{SLOT}/{name}", self._hear)
        self.listener.subscribe("hyperdrift/status", self._hear)
        self.listener.subscribe(f"hyperdrift/{SLOT}/bot/+", self._hear)
        listening = asyncio.create_task(self.listener.run())
        try:
            yield
        finally:
            for task in (tasks[2], tasks[1], tasks[0], listening):  # the broker last
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await self.exchange.stop()
            await self.bots_exchange.stop()

    def _hear(self, topic: str, payload: bytes, retained: bool) -> None:
        with contextlib.suppress(ValueError):
            said = json.loads(payload)
            name = topic.rpartition("/")[2]
            self.events.append({"wall": time.time(), "topic": name, "old": retained, **said})
            if name == "event":
                self.journal.hear(self.events[-1])
            elif name == "status" and not retained:
                self.journal.count(self.events[-1])

    def command(self, name: str, **fields: str) -> None:
        """Send the daemon a command, as an operator does."""
        request = Command(
            command=name,  # type: ignore[arg-type]
            request_id=secrets.token_hex(6),
            reason="chaos",
            issued_ms=time.time_ns() // 1_000_000,
            **fields,
        )
        self.listener.publish(Topics().command(SLOT), request)

    def exchange_s(self) -> float:
        """Seconds since the exchange opened."""
        return time.time() - self.opened

    def add_fault(self, fault: Fault) -> None:
        """Add a fault to both exchanges."""
        for exchange in (self.exchange, self.bots_exchange):
            exchange.add_faults([fault])

    async def caught_up(self, t: int, within_s: float) -> None:
        """Wait until the daemon has scored the bar that opened at `t`, and the bot answered it.

        On a busy machine either may be some seconds late, which is hundreds of bars.
        """
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            scored = max((e.get("last_bar_t") or 0 for e in self.events[-50:]), default=0)
            answered = max((at for life in self.lives() for _, at in life[1]), default=0)
            if min(scored, answered) >= t:
                return
            await asyncio.sleep(0.2)

    def lives(self) -> list[tuple[float, list[tuple[float, int]]]]:
        """Return of each process of the bot when it began, and when it answered which bar."""
        lives: list[tuple[float, list[tuple[float, int]]]] = []
        for line in (self.folder / "bot.diary").read_text().splitlines():
            at, t = line.split()[:2]
            if t == "0":
                lives.append((float(at), []))
            else:
                lives[-1][1].append((float(at), int(t)))
        return lives

    async def well(self, within_s: float) -> float:
        """Wait until the daemon has the newest bar and a model; return the seconds it took."""
        began = time.monotonic()
        while (took_s := time.monotonic() - began) < within_s:
            newest = max((e.get("last_bar_t") or 0 for e in self.events[-50:]), default=0)
            is_new = self.daemon.is_ready and newest > self.exchange.now_ms() - 3 * STEP
            if is_new and await asyncio.to_thread(self.answers):
                break
            await asyncio.sleep(0.2)
        return took_s

    def answers(self) -> bool:
        """Return whether the version that LATEST.json names is intact."""
        try:
            live = self.registry.live(SLOT)
            return live is not None and bool(self.registry.verify(SLOT, live.model_id))
        except (HyperdriftError, RetrainError):
            return False

    def is_stored(self) -> bool:
        """Return whether the daemon's store has the newest bars."""
        with contextlib.suppress(HyperdriftError), open_store(self.data, read_only=True) as store:
            return (store.newest_t(SLOT) or 0) >= self.exchange.now_ms() - 4 * STEP
        return False

    def truth(self) -> dict[int, Bar]:
        """Return the closed bars that the exchange's REST serves."""
        window = {"coin": SLOT.coin, "interval": SLOT.interval, "startTime": START_MS}
        request = msgspec.json.encode({"type": "candleSnapshot", "req": window})
        answer = self.exchange._venue.answer(request, self.exchange.now_ms())  # noqa: SLF001
        rows = decode_candles(answer.body, SLOT).frames
        return {frame.bar.t: frame.bar for frame in rows[:-1]}


def _without_root_rights() -> tuple[str, ...]:
    """Return a command prefix that removes root's right to ignore file modes."""
    powers = "-dac_override,-dac_read_search"
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return ()
    return ("setpriv", f"--bounding-set={powers}", f"--inh-caps={powers}", "--")


def prepare(
    folder: Path, seconds: float, speed: float, seed: int, *, namespace: bool
) -> ChaosSetup:
    """Make a market, a store with its older half, keys, and earlier live versions."""
    bars = HISTORY + int(1.3 * (seconds + 300) * speed * 1000 / STEP)
    recording = generate(bars, STEP, seed, start_ms=START_MS)
    (folder / "disk").mkdir()
    if namespace:
        size = f"size={DISK_MIB}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder / "disk"], check=True)
    setup = ChaosSetup(folder, recording, speed)
    with open_store(setup.data) as store:
        columns = (recording.t, recording.open, recording.high, recording.low, recording.close)
        rows = zip(*(c[:IMPORTED].tolist() for c in (*columns, recording.volume)), strict=True)
        store.put_bars(SLOT, [Bar(*row) for row in rows], Provenance.IMPORT)
        known = recording.funding_t < recording.t[HISTORY]
        rates = zip(recording.funding_t[known], recording.funding_rate[known], strict=True)
        store.put_funding(SLOT.coin, [Funding(int(t), float(rate)) for t, rate in rates])
    private = setup.data / "keys" / "hyperdrift.key"
    generate_keys(private, setup.public_key)
    setup.registry = registry = Registry(setup.data / "models", Signer.load(private))
    for number in range(VERSIONS):
        model_id = registry.adopt(SLOT, write_version(folder / "versions", number))
        at_ms = START_MS + number * 60_000
        registry.deploy(SLOT, model_id, reason="before", by="chaos", at_ms=at_ms)
    return setup
