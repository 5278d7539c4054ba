"""A daemon whose slots are not all well: it is ready, and each slot says what it lacks."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.admin import doctor
from daemon.app import run
from daemon.config import loader
from daemon.core.bars import Bar, Provenance
from daemon.demo.exchange import ReplayExchange
from daemon.demo.faults import CoinFails, Fault, HttpError, ShortMeta
from daemon.demo.market import generate
from daemon.runtime import event_codec
from daemon.store.data_folder import open_store
from hyperdrift.clock import SystemClock
from hyperdrift.slot_name import SlotName
from monitor.events import BarScored, CommandReceived
from tests.daemon.brokers import Mosquitto
from tests.system.exchange_process import ROOT
from tests.system.venue import Listener, publish

SPEED, STEP, BEGIN_MS = 1000.0, 300_000, 1_750_000_200_000
COINS = ("BTC", "ETH", "SOL")
MARKETS = [generate(3000, STEP, 3, start_ms=BEGIN_MS, coin=coin) for coin in COINS]
LASTING: Any = {"at_wall_s": 0, "for_wall_s": 600}
FAULTS: list[Fault] = [
    HttpError(**LASTING, status=422, body="text"),
    ShortMeta(**LASTING, coin="ETH"),
    CoinFails(**LASTING, coin="SOL", of="candles"),
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


def lift(exchange: ReplayExchange, kind: type[Fault]) -> None:
    """End the faults of a kind, now that the daemon has said what it has to say of them."""
    exchange._faults._of.pop(kind)


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="no mosquitto-clients")
async def test_with_four_slots_of_which_one_is_well_it_is_ready_and_each_says_what_it_lacks(
    tmp_path: Path,
) -> None:
    broker, clock = Mosquitto(tmp_path), SystemClock()
    await broker.start()
    async with replay(FAULTS) as exchange, Listener(broker.port) as bus, asyncio.timeout(240):
        path = configuration(tmp_path, exchange, broker.url, "BTC", "ETH", "SOL", "btcc")
        config = loader.load(path)
        daemon = asyncio.create_task(run(config, clock))
        waits = "waiting for the venue: "
        while not [m for m in bus.of("hyperdrift/status") if m.get("doing", "").startswith(waits)]:
            await asyncio.sleep(0.05)
        lift(exchange, HttpError)
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
        await trouble(bus, "ETH-5m")
        lift(exchange, ShortMeta)
        eth = "hyperdrift/ETH-5m/state"  # its coin appears: it begins by itself
        while not [s for s in bus.of(eth, trouble="") if s["last_bar_t"]]:
            await asyncio.sleep(0.05)
        await bus.wait_for("hyperdrift/ETH-5m/event", kind="trouble_over")
        for slot in ("SOL-5m", "btcc-5m"):
            await bus.wait_for(f"hyperdrift/{slot}/event", kind="alert")
            assert len(bus.of(f"hyperdrift/{slot}/event", kind="alert")) == 1
        assert len(bus.of("hyperdrift/ETH-5m/event", kind="trouble_over")) == 1
        daemon.cancel()
        await asyncio.wait([daemon])
    await broker.stop()


@pytest.mark.skipif(shutil.which("mosquitto_sub") is None, reason="no mosquitto-clients")
async def test_with_the_venue_away_it_serves_and_answers_and_scores_all_it_missed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.app._PATIENCE_S", 0.0)
    broker, clock, btc = Mosquitto(tmp_path), SystemClock(), SlotName("BTC", "5m")
    await broker.start()
    away: list[Fault] = [HttpError(**LASTING, status=502, body="html")]
    async with replay(away) as exchange, Listener(broker.port) as bus, asyncio.timeout(240):
        config = loader.load(configuration(tmp_path, exchange, broker.url, "BTC"))
        last_t = int(BEGIN_MS + 950 * STEP)
        with open_store(config.data_dir) as store:
            old = BarScored(
                slot="BTC-5m", at_ms=last_t + STEP, t=last_t, close=1.0, row=(0.0,) * 17
            )
            bar = Bar(last_t, 1.0, 1.0, 1.0, 1.0, 1.0)
            store.put_bars(btc, [bar], Provenance.FILLED)
            store.append_journal(btc, old.at_ms, *event_codec.body(old))
        began_s = clock.monotonic()
        daemon = asyncio.create_task(run(config, clock))
        state = await bus.wait_for("hyperdrift/BTC-5m/state")
        assert state["last_bar_t"] == last_t
        command = {"command": "pause", "request_id": "r1", "issued_ms": clock.now_ms()}
        while not bus.of("hyperdrift/BTC-5m/command/reply"):
            await publish(broker.port, "hyperdrift/BTC-5m/command", command)
            await asyncio.sleep(0.2)
        took_ms = (clock.monotonic() - began_s) * 1000 * SPEED
        assert bus.of("hyperdrift/BTC-5m/command/reply")[0]["accepted"]
        assert bus.of("hyperdrift/status")[-1]["doing"].startswith("waiting for the venue")
        lift(exchange, HttpError)
        await bus.wait_for("hyperdrift/status", state="online", doing=None)
        while bus.of("hyperdrift/BTC-5m/state")[-1]["last_bar_t"] < last_t + 60 * STEP:
            await asyncio.sleep(0.05)
        daemon.cancel()
        await asyncio.wait([daemon])
    with open_store(config.data_dir, read_only=True) as store:
        read = event_codec.read(store, btc, 0)
    scored = [event.t for event in read if isinstance(event, BarScored)]
    assert scored == list(range(last_t, scored[-1] + 1, STEP))
    paused = [event for event in read if isinstance(event, CommandReceived)]
    # On the venue's time as far as it was known: carried on from the newest bar's close.
    assert last_t + STEP <= paused[0].at_ms <= last_t + STEP + took_ms
    await broker.stop()


async def trouble(bus: Listener, slot: str) -> dict[str, str]:
    """Wait for a state of a slot with a trouble."""
    while not (found := [s for s in bus.of(f"hyperdrift/{slot}/state") if s["trouble"]]):
        await asyncio.sleep(0.05)
    return found[-1]


async def test_with_only_wrong_names_it_ends_with_2_and_one_line_that_names_them(
    tmp_path: Path,
) -> None:
    async with replay([]) as exchange, asyncio.timeout(180):
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
