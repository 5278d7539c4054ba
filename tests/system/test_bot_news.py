"""What a bot says of itself reaches the decisions, and outlives a killed daemon."""

import asyncio
import contextlib
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

import pytest

from daemon.store.data_folder import open_store
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, PredictionMade
from hyperdrift.mqtt.topics import Topics
from retrain import features
from tests.daemon.brokers import Mosquitto, connection
from tests.system.test_cycle import COMMAND, EVENT, REPLY, STATE, command
from tests.system.venue import SLOT, Host, Listener, host, publish

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_sub") is None, reason="mosquitto-clients is not installed"
)
TOPICS = Topics()


def present(bus: MqttConnection, sklearn: str) -> None:
    presence = BotPresence(online=True, bot_id="old-bot", python="3.11.2", sklearn=sklearn)
    bus.publish(TOPICS.bot(SLOT, presence.bot_id), presence, retain=True)


async def test_bots_that_cannot_load_and_bots_with_other_features_are_found_out(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        async with (
            host(tmp_path, broker.url) as machine,
            Listener(broker.port) as heard,
            connection(broker.url) as bus,
        ):
            present(bus, "1.2.3")
            await bus.flush()
            async with machine.daemon() as daemon:
                await nothing_is_trained_for_a_bot_that_cannot_load_it(heard, broker)
                await other_features_are_an_alert(heard, bus)
                daemon.signal(signal.SIGKILL)
            heard.messages.clear()
            async with machine.daemon():
                state = await heard.wait_for(STATE)
                assert state["mismatch"]["column"] == "mom_1"
                await equal_features_end_it(heard, bus, machine)
                present(bus, version("scikit-learn"))
                await heard.wait_for(EVENT, kind="retrain_started", trigger="first")
    finally:
        await broker.stop()


async def nothing_is_trained_for_a_bot_that_cannot_load_it(
    heard: Listener, broker: Mosquitto
) -> None:
    alert = await heard.wait_for(EVENT, kind="alert")
    assert "old-bot has scikit-learn 1.2.3" in alert["text"]
    assert "set retrain.python to the bot's interpreter" in alert["text"]
    decision = await heard.wait_for(EVENT, kind="decision")
    assert decision["text"] == f"wait: {alert['text']}"
    await publish(broker.port, COMMAND, command("forced"))
    reply = await heard.wait_for(REPLY, request_id="forced")
    assert (reply["accepted"], reply["detail"]) == (False, alert["text"])
    await asyncio.sleep(1.0)
    assert heard.of(EVENT, kind="retrain_started") == []


async def other_features_are_an_alert(heard: Listener, bus: MqttConnection) -> None:
    """Wrong ones on three bars: one alert, and the state counts them."""
    row, t, counted = tuple(float(i) for i in range(len(features.NAMES))), None, 0
    async with asyncio.timeout(180):
        while counted < 3:
            while (newest := heard.of(STATE)[-1]["last_bar_t"]) == t:
                await asyncio.sleep(0.02)
            t = newest
            made = PredictionMade(t=t, model_id="m", p=(0.2, 0.6, 0.2), features=row)
            bus.publish(TOPICS.prediction(SLOT), made)
            bus.publish(TOPICS.prediction(SLOT), made)  # QoS 1 may deliver twice
            with contextlib.suppress(TimeoutError):  # a busy daemon may have left that bar behind
                await heard_mismatches(heard, counted + 1)
                counted += 1
    alerts: list[str] = []
    async with asyncio.timeout(90):
        while not alerts:
            await asyncio.sleep(0.02)
            told = heard.of(EVENT, kind="alert")
            alerts = [alert["text"] for alert in told if "at the bot" in alert["text"]]
    assert len(alerts) == 1
    assert "mom_1 of bar" in alerts[0]
    assert "more columns differ" in alerts[0]


async def heard_mismatches(heard: Listener, bars: int) -> None:
    async with asyncio.timeout(20):
        while (heard.of(STATE)[-1]["mismatch"] or {}).get("bars") != bars:
            await asyncio.sleep(0.02)


async def equal_features_end_it(heard: Listener, bus: MqttConnection, machine: Host) -> None:
    with open_store(machine.data_dir, read_only=True) as store:
        async with asyncio.timeout(180):
            while not heard.of(EVENT, kind="features_agree"):
                t = heard.of(STATE)[-1]["last_bar_t"]
                frame = store.frame(SLOT, to_t=t, last=features.LIVE_BARS)
                row = tuple(map(float, features.compute(frame)[-1]))
                made = PredictionMade(t=t, model_id="m", p=(0.2, 0.6, 0.2), features=row)
                bus.publish(TOPICS.prediction(SLOT), made)
                await asyncio.sleep(0.05)
    (told,) = heard.of(EVENT, kind="features_agree")
    assert told["bars"] == 3
    async with asyncio.timeout(90):
        while heard.of(STATE)[-1]["mismatch"] is not None:
            await asyncio.sleep(0.02)
