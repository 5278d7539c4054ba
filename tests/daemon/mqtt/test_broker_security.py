"""What a stranger, a bot and an operator can do on the broker that the examples set up."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.admin import remote_client
from daemon.core.errors import BrokerUnreachable
from daemon.mqtt.messages import encode
from hyperdrift.clock import SystemClock
from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.login import FixedLogin
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.brokers import until
from tests.daemon.secured import SecuredEmbedded, SecuredMosquitto, certify, password

Secured = SecuredMosquitto | SecuredEmbedded
SLOT, TOPICS = SlotName("BTC", "5m"), Topics()


@pytest.fixture(params=[SecuredMosquitto, SecuredEmbedded])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Secured]:
    made: Secured = request.param(tmp_path)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def client(
    broker: Secured, user: str, *, secret: str | None = None, ca_file: Path | None = None
) -> AsyncIterator[tuple[MqttConnection, list[str]]]:
    """Hold a user's connection; the list has the topics of all that it hears."""
    heard: list[str] = []
    address = BrokerAddress.parse(broker.url_of(user), ca_file or broker.ca_file)
    bus = MqttConnection(address, SystemClock(), password=secret or password(user), encode=encode)
    bus.subscribe("#", lambda topic, _payload, _retained: heard.append(topic))
    task = asyncio.create_task(bus.run())
    try:
        yield bus, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_bot_cannot_give_orders_or_commands_and_a_stranger_can_do_nothing(
    broker: Secured,
) -> None:
    every = [
        *(TOPICS.status, TOPICS.model(SLOT), TOPICS.ack(SLOT), "hyperdrift/BTC-5m/bot"),
        *("hyperdrift/BTC-5m/bot/one", "hyperdrift/BTC-5m/bot/one/fetch"),
        *(TOPICS.prediction(SLOT), TOPICS.trade(SLOT), TOPICS.command(SLOT)),
        *(TOPICS.reply(SLOT), TOPICS.state(SLOT), TOPICS.event(SLOT)),
    ]
    own = {topic for topic in every if topic.split("/")[2:3] == ["bot"]}
    bots = {*own, TOPICS.ack(SLOT), TOPICS.prediction(SLOT), TOPICS.trade(SLOT)}
    may = {"hyperdrift": set(every), "bot": bots, "operator": {TOPICS.command(SLOT)}}
    async with client(broker, "operator") as (operator, seen):
        await operator.wait_connected()
        for user in broker.users:
            seen.clear()
            async with client(broker, user) as (bus, _):
                await bus.wait_connected()
                for topic in every:
                    bus.publish(topic, {"from": user})
                await bus.flush()  # the broker has acknowledged, also what it drops
            async with client(broker, "hyperdrift") as (daemon, _):
                daemon.publish("hyperdrift/end", {})
                await until(lambda: "hyperdrift/end" in seen)
            assert set(seen) - {"hyperdrift/end"} == may.get(user, set()), user


async def test_a_bot_hears_its_orders_and_nothing_else(broker: Secured) -> None:
    heard: list[str] = []
    async with client(broker, "bot") as (bot, everything), client(broker, "hyperdrift") as (us, _):
        bot.subscribe(TOPICS.model(SLOT), lambda topic, _payload, _retained: heard.append(topic))
        await asyncio.gather(bot.wait_connected(), us.wait_connected())
        await asyncio.sleep(0.1)
        for topic in (TOPICS.command(SLOT), TOPICS.state(SLOT), TOPICS.model(SLOT)):
            us.publish(topic, {}, retain=True)
        await until(lambda: heard)
        assert set(heard) | set(everything) == {TOPICS.model(SLOT)}


@pytest.mark.parametrize(("user", "secret"), [("bot", "wrong"), ("nobody", "x"), ("", "")])
async def test_a_wrong_password_and_no_user_at_all_are_one_clear_line_at_once(
    broker: Secured, user: str, secret: str
) -> None:
    url = broker.url_of(user) if user else broker.url_of("x").replace("x@", "")
    address = BrokerAddress.parse(url, broker.ca_file)
    with capture_logs() as logs, pytest.raises(BrokerUnreachable) as caught:
        async with remote_client.connected(
            address, SystemClock(), FixedLogin(user or None, secret or None)
        ):
            pass
    who = f"user '{user}'" if user else "a client without a user"
    where = "check the user in mqtt.broker and mqtt.password_file (or the credential)"
    why = f"it refuses {who}; {where}"
    assert str(caught.value) == f"the broker at {address} cannot be reached: {why}"
    assert [entry["why"] for entry in logs if entry["event"] == "bus.lost"] == [why]


async def test_a_broker_that_our_ca_does_not_vouch_for_is_not_spoken_to(
    tmp_path: Path,
) -> None:
    broker = SecuredMosquitto(tmp_path)
    await broker.start()
    other = tmp_path / "other"
    other.mkdir()
    with capture_logs() as logs:
        async with client(broker, "bot", ca_file=certify(other)) as (bus, _):
            await until(lambda: bus.trouble)
            await asyncio.sleep(0.5)
            assert not bus.connected
    await broker.stop()
    gc.collect()  # a socket that was left open would be complained about now
    (line,) = [entry["why"] for entry in logs if entry["event"] == "bus.lost"]
    assert line.startswith("its certificate is not to be trusted (")
    assert "name the CA that signed it in mqtt.ca_file" in line


async def test_a_ca_file_that_is_missing_or_no_certificate_is_said_at_once(tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("no certificate")
    for path, problem in ((junk, "in PEM form"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(ConfigError, match=problem):
            MqttConnection(BrokerAddress.parse("mqtts://h", path), SystemClock(), encode=encode)
    with pytest.raises(ConfigError, match="write mqtts://"):
        BrokerAddress.parse("mqtt://h", junk)
