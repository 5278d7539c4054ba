"""A daemon whose slots are not all well: it is ready, and each slot says what it lacks."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from daemon.admin import doctor
from daemon.app import run
from daemon.config import loader
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import CoinFails, Fault, HttpError, ShortMeta
from daemon.demo.market import generate
from hyperdrift.clock import SystemClock
from tests.daemon.brokers import Mosquitto
from tests.system.exchange_process import ROOT
from tests.system.venue import Listener

SPEED, STEP, BEGIN_MS = 1000.0, 300_000, 1_750_000_200_000
COINS = ("BTC", "ETH", "SOL")
MARKETS = [generate(3000, STEP, 3, start_ms=BEGIN_MS, coin=coin) for coin in COINS]
WALL_S = 6.0
FAULTS: list[Fault] = [
    HttpError(at_wall_s=0, for_wall_s=0.5, status=422, body="text"),
    ShortMeta(at_wall_s=0, for_wall_s=WALL_S, coin="ETH"),
    CoinFails(at_wall_s=0, for_wall_s=600, coin="SOL", of="candles"),
]


def configuration(folder: Path, exchange: ReplayExchange, broker: str, *coins: str) -> Path:
    slots = "".join(f'[[slots]]\ncoin = "{coin}"\nhistory_days = 3\n' for coin in coins)
    path = folder / "hyperdrift.toml"
    path.write_text(
        f'[daemon]\ndata_dir = "{folder}/data"\n{slots}[mqtt]\nbroker = "{broker}"\n'
        f"[hyperliquid]\nspeed = {SPEED}\n"
        f'rest_url = "{exchange.url}"\nws_url = "{exchange.ws_url}"\n'
    )
    return path


def replay(faults: list[Fault]) -> ReplayExchange:
    start_ms = BEGIN_MS + 1000 * STEP
    return ReplayExchange(MARKETS, SystemClock(), speed=SPEED, start_ms=start_ms, faults=faults)


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="no mosquitto-clients")
async def test_with_four_slots_of_which_one_is_well_it_is_ready_and_each_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    broker, clock = Mosquitto(tmp_path), SystemClock()
    await broker.start()
    async with replay(FAULTS) as exchange, Listener(broker.port) as bus, asyncio.timeout(30):
        path = configuration(tmp_path, exchange, broker.url, "BTC", "ETH", "SOL", "btcc")
        config = loader.load(path)
        daemon = asyncio.create_task(run(config, clock))
        waits = "starting: waiting for the venue: "
        while not [m for m in bus.of("hyperdrift/status") if m.get("doing", "").startswith(waits)]:
            await asyncio.sleep(0.05)
        await bus.wait_for("hyperdrift/status", state="online", doing=None)  # it is ready
        wrong = "the venue has no perp 'btcc'; did you mean BTC?"
        await bus.wait_for("hyperdrift/btcc-5m/state", trouble=wrong)
        fails = (await trouble(bus, "SOL-5m"))["trouble"]
        assert fails.startswith("the venue does not serve the candles of SOL-5m (status 500")
        while not [s for s in bus.of("hyperdrift/BTC-5m/state", trouble="") if s["last_bar_t"]]:
            await asyncio.sleep(0.05)
        found = {check.name: check.problem for check in await doctor.check_up(config, clock)}
        assert (found["coin btcc"], found["slot SOL-5m"]) == (wrong, fails)
        assert "slot BTC-5m" not in found
        assert "slot btcc-5m" not in found  # said once
        eth = "hyperdrift/ETH-5m/state"  # its coin appears: it begins by itself
        while not [s for s in bus.of(eth, trouble="") if s["last_bar_t"]]:
            await asyncio.sleep(0.05)
        for slot in ("SOL-5m", "btcc-5m"):
            assert len(bus.of(f"hyperdrift/{slot}/event", kind="alert")) == 1
        assert len(bus.of("hyperdrift/ETH-5m/event", kind="trouble_over")) == 1
        daemon.cancel()
        await asyncio.wait([daemon])
    await broker.stop()


async def trouble(bus: Listener, slot: str) -> dict[str, str]:
    """Wait for a state of a slot with a trouble."""
    while not (found := [s for s in bus.of(f"hyperdrift/{slot}/state") if s["trouble"]]):
        await asyncio.sleep(0.05)
    return found[-1]


async def test_with_only_wrong_names_it_ends_with_2_and_one_line_that_names_them(
    tmp_path: Path,
) -> None:
    async with replay([]) as exchange, asyncio.timeout(60):
        path = configuration(tmp_path, exchange, "mqtt://127.0.0.1:9", "btc", "@107")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "daemon.cli", "run", "--config", str(path)),
            cwd=ROOT,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        _, said = await process.communicate()
    assert process.returncode == 2
    last = said.decode().splitlines()[-1]
    assert "[[slots]] @107 is a spot market, and spot is not followed" in last
    assert "the venue has no perp 'btc'; did you mean BTC?" in last
