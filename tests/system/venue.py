"""A venue, a daemon and a bot as processes, for tests that watch them from outside."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from daemon.core.bars import Bar, Funding, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.demo.processes import DemoProcess
from daemon.demo.recording import Recording
from daemon.registry.keys import own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.registry.signing import generate as generate_keys
from daemon.store.data_folder import open_store
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName
from tests.daemon.secured import SecuredMosquitto
from tests.daemon.small_retrain import interpreter
from tests.daemon.versions import write_version

SLOT = SlotName("BTC", "5m")
START_MS = 1_748_736_000_000
HISTORY, STREAMED = 12_000, 6_000
SPEED = 2000.0
LONG_AGO_MS = 1_750_000_000_000


def market() -> Recording:
    """Return a made-up market without a change of regime."""
    return generate(HISTORY + STREAMED, SLOT.interval_ms, seed=11, start_ms=START_MS)


@dataclass
class Host:
    """One machine: its folder, its exchange and the broker it is told to use."""

    folder: Path
    recording: Recording
    exchange: ReplayExchange
    broker_url: str
    policy: dict[str, float] = field(default_factory=dict)
    secured: SecuredMosquitto | None = None
    small_retrains: bool = False

    @property
    def first_t(self) -> int:
        return int(self.recording.t[HISTORY])

    @property
    def data_dir(self) -> Path:
        return self.folder / "data"

    @property
    def public_key(self) -> Path:
        return self.data_dir / "keys" / "hyperdrift.pub"

    def _trust(self, user: str) -> dict[str, str]:
        """Return the settings that a broker with TLS and passwords asks for."""
        if self.secured is None:
            return {}
        password = self.secured.password_file(user)
        return {"ca_file": str(self.secured.ca_file), "password_file": str(password)}

    def daemon(self, speed: float = SPEED) -> DemoProcess:
        config = self.folder / "hyperdrift.toml"
        policy = "\n".join(f"{key} = {value}" for key, value in self.policy.items())
        retrain = ""
        if self.small_retrains:
            retrain = f'[retrain]\npython = "{interpreter(self.folder, page=False)}"\n'
        mqtt = "".join(f'{key} = "{value}"\n' for key, value in self._trust("hyperdrift").items())
        config.write_text(
            f'[daemon]\ndata_dir = "{self.data_dir}"\n'
            '[[slots]]\ncoin = "BTC"\ninterval = "5m"\nhistory_days = 40\n'
            f'[hyperliquid]\nrest_url = "{self.exchange.url}"\nws_url = "{self.exchange.ws_url}"\n'
            f'speed = {speed}\n[mqtt]\nbroker = "{self.broker_url}"\n{mqtt}[policy]\n{policy}\n'
            f"{retrain}"
            # A test block of eight days says little about calibration: its error is mostly noise.
            # On which bars a test trains depends on the machine, and so do rare signals.
            "[gates]\ncalibrated = 0.1\nall_classes = 0.001\n"
        )
        return DemoProcess(
            "daemon", ("-m", "daemon.cli", "run", "--config", str(config)), self.folder
        )

    def bot(self) -> DemoProcess:
        return DemoProcess(
            "bot",
            (
                *("-m", "daemon.demo.bot", "--slot", str(SLOT), "--speed", str(SPEED)),
                *("--venue-url", self.exchange.url, "--ws-url", self.exchange.ws_url),
                *("--public-key", str(self.public_key)),
                *("--broker", self.secured.url_of("bot") if self.secured else self.broker_url),
                *(word for key, value in self._trust("bot").items() for word in (flag(key), value)),
            ),
            self.folder,
        )


def flag(key: str) -> str:
    return "--" + key.replace("_", "-")


@asynccontextmanager
async def host(
    folder: Path, broker: str | SecuredMosquitto, *, small_retrains: bool = False, **policy: float
) -> AsyncIterator[Host]:
    """Hold a venue in mid-recording and a store that was filled from a file before.

    With `small_retrains` a retrain fits a tenth of the trees, and draws no report.
    """
    recording = market()
    start_ms = int(recording.t[HISTORY])
    async with AsyncExitStack() as stack:
        exchange = ReplayExchange((recording,), SystemClock(), speed=SPEED, start_ms=start_ms)
        secured = None if isinstance(broker, str) else broker
        url = broker if isinstance(broker, str) else broker.url
        made = Host(folder, recording, exchange, url, policy, secured, small_retrains)
        await asyncio.to_thread(fill, made)
        generate_keys(made.data_dir / "keys" / "hyperdrift.key", made.public_key)
        await stack.enter_async_context(exchange)
        yield made


def fill(host: Host) -> None:
    """Import all but the newest 4000 bars of the past: those the daemon has to fetch itself."""
    rec, old = host.recording, slice(0, HISTORY - 4000)
    columns = (rec.t, rec.open, rec.high, rec.low, rec.close, rec.volume)
    with open_store(host.data_dir) as store:
        rows = zip(*(c[old].tolist() for c in columns), strict=True)
        store.put_bars(SLOT, [Bar(*row) for row in rows], Provenance.IMPORT)
        settled = rec.funding_t < host.first_t
        rates = zip(
            rec.funding_t[settled].tolist(), rec.funding_rate[settled].tolist(), strict=True
        )
        store.put_funding("BTC", [Funding(*rate) for rate in rates])


async def hyperdrift(machine: Host, *words: str) -> tuple[int, Any]:
    """Run a command as alice does; return its exit code and what it printed, as JSON."""
    config = str(machine.folder / "hyperdrift.toml")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon.cli", *words, "--config", config, "--json"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "LOGNAME": "alice"},
    )
    out, _ = await process.communicate()
    return process.returncode or 0, json.loads(out or "null")


def two_versions(machine: Host) -> tuple[Registry, str, str]:
    """Put two versions on the machine, the first of them live."""
    signer, ring = own_signer(machine.data_dir), trusted_keys(machine.data_dir)
    registry = Registry(machine.data_dir / "models", signer, ring=ring)
    one, two = (registry.adopt(SLOT, write_version(machine.folder / str(n), n)) for n in (1, 2))
    registry.deploy(SLOT, one, reason="a test", by="test", at_ms=LONG_AGO_MS)
    return registry, one, two


def check_store(machine: Host) -> list[int]:
    """Hold the bars against the recording and the scores against each other; return whose."""
    with open_store(machine.data_dir, read_only=True) as store:
        stored = store.bars(SLOT, from_t=machine.first_t)
        assert store.missing(SLOT) == []
        scored = [row.body["t"] for row in store.journal(SLOT, kinds=["BarScored"])]
    streamed = machine.recording.between(machine.first_t, int(stored["t"][-1]) + 1)
    for name in ("t", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(stored[name], getattr(streamed, name))
    assert scored == sorted(set(scored))
    assert set(np.diff(scored)) == {SLOT.interval_ms}
    return scored


class Listener:
    """A `mosquitto_sub` beside the run: every message of every topic, as a stranger sees it."""

    def __init__(self, port: int, *options: str) -> None:
        self._port, self._options = port, options
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self._subscribed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *("stdbuf", "-oL", "mosquitto_sub", "-d", *self._options),
            *("-p", str(self._port), "-t", "hyperdrift/#", "-v"),
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        self._reader = asyncio.create_task(self._read())
        async with asyncio.timeout(60):
            await self._subscribed.wait()
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._process.terminate()
        await self._process.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            topic, _, payload = line.decode().partition(" ")
            if topic.startswith("hyperdrift/"):
                self.messages.append((topic, json.loads(payload)))
            elif "received SUBACK" in payload:
                self._subscribed.set()

    def of(self, topic: str, **fields: object) -> list[dict[str, Any]]:
        """Return the payloads on a topic that have these fields, oldest first."""
        return [
            payload
            for name, payload in self.messages
            if name == topic and all(payload.get(k) == v for k, v in fields.items())
        ]

    async def wait_for(
        self, topic: str, within_s: float = 300.0, **fields: object
    ) -> dict[str, Any]:
        """Return the first such payload, now or later."""
        async with asyncio.timeout(within_s):
            while not (found := self.of(topic, **fields)):
                await asyncio.sleep(0.05)
        return found[0]


async def publish(port: int, topic: str, payload: dict[str, Any], *options: str) -> None:
    """Send a message as a person does, with `mosquitto_pub`."""
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_pub", *options),
        *("-p", str(port), "-q", "1", "-t", topic, "-m", json.dumps(payload)),
    )
    assert await process.wait() == 0
