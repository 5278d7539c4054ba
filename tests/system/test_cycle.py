"""A whole cycle with real processes: a venue, a mosquitto with TLS and ACL, a daemon, a bot."""

import asyncio
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.daemon.secured import SecuredMosquitto
from tests.system.venue import SLOT, Host, Listener, check_store, host, publish

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto-clients is not installed"
)

EVENT = f"hyperdrift/{SLOT}/event"
STATE = f"hyperdrift/{SLOT}/state"
ORDER = f"hyperdrift/{SLOT}/model"
ACK = f"hyperdrift/{SLOT}/model/ack"
REPLY = f"hyperdrift/{SLOT}/command/reply"
COMMAND = f"hyperdrift/{SLOT}/command"


def command(request_id: str, *, age_s: float = 0.0) -> dict[str, object]:
    issued_ms = int((time.time() - age_s) * 1000)
    return {"command": "retrain", "request_id": request_id, "reason": "try", "issued_ms": issued_ms}


async def test_a_cycle_on_mosquitto_with_a_forced_retrain_and_a_killed_daemon(
    tmp_path: Path,
) -> None:
    broker = SecuredMosquitto(tmp_path)
    await broker.start()
    try:
        async with (
            # After the first retrain only those that are asked for. Whole ones the demo has.
            host(tmp_path, broker, small_retrains=True, cooldown_hours=1000.0) as machine,
            Listener(broker.port, *broker.client_options("operator")) as bus,
            machine.bot(),
        ):
            async with machine.daemon() as daemon:
                first = await the_first_model_goes_live(bus)
                await every_topic_is_as_documented(bus, first)
                await a_stale_command_is_refused(bus, broker)
                await a_command_starts_a_retrain(bus, broker, "forced-1")
                daemon.signal(signal.SIGKILL)
            await a_restart_goes_on_where_it_was(bus, broker, machine, first)
    finally:
        await broker.stop()


async def the_first_model_goes_live(bus: Listener) -> str:
    swapped = await bus.wait_for(EVENT, kind="swapped")
    model_id = str(swapped["model_id"])
    await bus.wait_for(ACK, model_id=model_id, status="loaded")
    acknowledged = await bus.wait_for(EVENT, kind="acknowledged", model_id=model_id)
    assert acknowledged["order_to_ack_ms"] < 60_000
    return model_id


async def every_topic_is_as_documented(bus: Listener, model_id: str) -> None:
    status = await bus.wait_for("hyperdrift/status", state="online")
    assert status["slots"] == [str(SLOT)]
    assert {"version", "since_ms"} <= status.keys()
    order = await bus.wait_for(ORDER, model_id=model_id)
    assert set(order) == {
        "swap_id", "model_id", "manifest", "sha256", "sklearn", "reason", "issued_ms", "signature",
        "latest",
    }  # fmt: skip
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in order["sha256"].values())
    bot = await bus.wait_for(f"hyperdrift/{SLOT}/bot/paper", model_id=model_id, online=True)
    assert {"bot_id", "python", "sklearn", "forms"} <= bot.keys()
    prediction = await bus.wait_for(f"hyperdrift/{SLOT}/prediction", model_id=model_id)
    assert len(prediction["features"]) == 17
    assert sum(prediction["p"]) == pytest.approx(1.0)
    trade = await bus.wait_for(f"hyperdrift/{SLOT}/trade")
    assert set(trade) == {
        "trade_id", "side", "opened_ms", "closed_ms", "entry", "exit", "size", "fee", "pnl",
    }  # fmt: skip
    state = await bus.wait_for(STATE, model_id=model_id, phase="serving")
    assert set(state) == {
        "phase", "model_id", "model_age_s", "win_rate", "trades", "drift", "last_bar_t",
        "lag_ms", "retrain", "pnl_7d", "waiting_for", "trouble", "probation", "mismatch",
        "trades_before", "earning", "labels", "bots", "refusal", "causes", "live_reason",
        "live_since_ms", "may_retrain_ms", "objection", "probation_ends_ms", "win_rate_count",
        "win_rate_of", "speaking", "challenge",
    }  # fmt: skip


async def a_stale_command_is_refused(bus: Listener, broker: SecuredMosquitto) -> None:
    await publish(
        broker.port, COMMAND, command("old", age_s=61), *broker.client_options("operator")
    )
    reply = await bus.wait_for(REPLY, request_id="old")
    assert reply == {"request_id": "old", "accepted": False, "detail": reply["detail"]}
    assert "stale" in reply["detail"]


async def a_command_starts_a_retrain(
    bus: Listener, broker: SecuredMosquitto, request_id: str
) -> None:
    await publish(broker.port, COMMAND, command(request_id), *broker.client_options("operator"))
    reply = await bus.wait_for(REPLY, request_id=request_id)
    assert reply["accepted"], reply
    await bus.wait_for(EVENT, kind="retrain_started", trigger="command")


async def a_restart_goes_on_where_it_was(
    bus: Listener, broker: SecuredMosquitto, machine: Host, first: str
) -> None:
    """Killed in mid-retrain: the bot answers meanwhile, and a start finds everything again."""
    await bus.wait_for("hyperdrift/status", state="offline")
    answered = len(bus.of(f"hyperdrift/{SLOT}/prediction"))
    async with asyncio.timeout(90):
        while len(bus.of(f"hyperdrift/{SLOT}/prediction")) < answered + 3:
            await asyncio.sleep(0.05)
    seen = len(bus.messages)
    async with machine.daemon():
        failed = await bus.wait_for(EVENT, kind="retrain_failed")
        assert "the daemon was stopped meanwhile" in failed["text"]
        bus.messages = bus.messages[seen:]
        state = await bus.wait_for(STATE, phase="serving")
        assert state["model_id"] == first
        await a_command_starts_a_retrain(bus, broker, "forced-2")
        swapped = await bus.wait_for(EVENT, kind="swapped")
        assert swapped["previous_id"] == first
        ack = await bus.wait_for(ACK, model_id=swapped["model_id"])
        assert ack["status"] == "loaded"
        await bus.wait_for(STATE, phase="probation", model_id=swapped["model_id"])
    check_store(machine)
