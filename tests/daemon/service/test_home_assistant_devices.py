"""Devices of Home Assistant on real brokers, with the rights that the examples give."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from daemon.config.schema import Config, MqttSection, SlotSection
from daemon.core.clock import VenueClock
from daemon.mqtt.messages import encode
from daemon.runtime.inbox import Inbox
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.trades import TradeBook
from daemon.service.home_assistant_devices import announce_devices
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.events import CommandReceived
from tests.captured import capture_logs
from tests.daemon.brokers import until
from tests.daemon.home_assistant import check_device, rendered
from tests.daemon.secured import SecuredEmbedded, SecuredMosquitto, password

Secured = SecuredMosquitto | SecuredEmbedded
TOPICS = Topics()
BTC, ETH = SlotSection(coin="BTC"), SlotSection(coin="ETH")
BTC_TOPIC, ETH_TOPIC = (
    f"homeassistant/device/hyperdrift/{coin}-5m/config" for coin in ("BTC", "ETH")
)


def config(*slots: SlotSection, on: bool = True, keys: tuple[str, ...] = ()) -> Config:
    return Config(slots=slots, mqtt=MqttSection(homeassistant=on, command_keys=keys))


@pytest.fixture(params=[SecuredMosquitto, SecuredEmbedded])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Secured]:
    made: Secured = request.param(tmp_path)
    await made.start()
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def login(broker: Secured, user: str) -> AsyncIterator[MqttConnection]:
    address = BrokerAddress.parse(broker.url_of(user), broker.ca_file)
    bus = MqttConnection(address, SystemClock(), password=password(user), encode=encode)
    task = asyncio.create_task(bus.run())
    await bus.wait_connected()
    try:
        yield bus
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class HomeAssistant:
    """Keeps the devices that it is told of, and presses their buttons."""

    def __init__(self, bus: MqttConnection) -> None:
        self.bus, self.devices = bus, dict[str, Any]()
        bus.publish("homeassistant/status", "online")
        bus.subscribe("homeassistant/device/+/+/config", self._take)

    def _take(self, topic: str, payload: bytes, _retained: bool) -> None:
        if not payload:
            self.devices.pop(topic, None)
            return
        check_device(topic, json.loads(payload))
        self.devices[topic] = json.loads(payload)

    def press(self, topic: str, button: str, now_ms: int) -> None:
        part = self.devices[topic]["components"][button]
        body = rendered(part["command_template"], now_ms=now_ms)
        self.bus.publish(part["command_topic"], msgspec.Raw(body.encode()))


async def test_a_button_that_is_pressed_is_obeyed_once(broker: Secured) -> None:
    clock, inbox, slot = SystemClock(), Inbox(), SlotName("BTC", "5m")
    refused, store = list[str](), ThreadedStore(Store(":memory:"))
    audit = type("Audit", (), {"refused": lambda _self, _slot, reply: refused.append(reply.detail)})
    async with login(broker, "hyperdrift") as bus, login(broker, "operator") as operator:
        venue = VenueClock(clock)
        MessageRouter(
            {slot: inbox},
            bus,
            TOPICS,
            clock=clock,
            venue=venue,
            audit=cast("Any", audit()),
            book=TradeBook(venue),
        ).listen()
        await announce_devices(config(BTC), store, bus, "1.0")
        house = HomeAssistant(operator)
        await until(lambda: BTC_TOPIC in house.devices)
        await asyncio.sleep(0.01)
        now_ms = int(time.time() * 1000)
        house.press(BTC_TOPIC, "retrain", now_ms)
        house.press(BTC_TOPIC, "retrain", now_ms)  # the same message again
        house.press(BTC_TOPIC, "pause", now_ms - 120_000)  # by a clock that is wrong
        await until(lambda: len(refused) == 2)
        taken = await inbox.get()
        assert isinstance(taken, CommandReceived)
        assert (taken.command, taken.slot) == ("retrain", "BTC-5m")
        assert "Home Assistant" in taken.by
        assert inbox.empty()
        assert "handled before" in refused[0]
        assert refused[1].startswith("stale")


async def test_devices_go_when_their_slot_or_the_whole_is_switched_off(broker: Secured) -> None:
    store = ThreadedStore(Store(":memory:"))
    async with login(broker, "operator") as operator:
        house = HomeAssistant(operator)
        both = {BTC_TOPIC, ETH_TOPIC}
        for slots, on, held, left in (
            ((BTC, ETH), True, [], both),
            ((), True, [ETH.name, BTC.name, SlotName("SOL", "5m")], both),
            ((BTC,), True, [ETH.name], both),
            ((BTC,), True, [], {BTC_TOPIC}),
            ((BTC,), False, [BTC.name], set[str]()),
        ):
            async with login(broker, "hyperdrift") as bus:  # each is another start
                await announce_devices(config(*slots, on=on), store, bus, "1.0", held)
                await until(lambda left=left: house.devices.keys() == left)  # type: ignore[misc]
        async with login(broker, "operator") as later:
            after = HomeAssistant(later)
            await later.flush()
            await asyncio.sleep(0.05)
            assert after.devices == {}


async def test_a_bot_can_make_no_device_and_an_operator_neither(broker: Secured) -> None:
    async with login(broker, "hyperdrift") as ours:
        house = HomeAssistant(ours)
        for user in ("bot", "operator"):
            async with login(broker, user) as bus:
                bus.publish(ETH_TOPIC, {"forged": True}, retain=True)
                await bus.flush()
        await announce_devices(config(BTC), ThreadedStore(Store(":memory:")), ours, "1.0")
        await until(lambda: house.devices)
        assert house.devices.keys() == {BTC_TOPIC}


async def test_switched_off_from_the_start_nothing_is_said_to_the_broker() -> None:
    nobody = cast("Any", None)  # any use of the connection would fail
    await announce_devices(config(BTC, on=False), ThreadedStore(Store(":memory:")), nobody, "1.0")


async def test_with_signed_commands_there_are_no_buttons_and_the_log_says_why() -> None:
    sent = dict[str, Any]()

    class Bus:
        def publish(self, topic: str, payload: Any, *, retain: bool) -> None:
            assert retain
            sent[topic] = payload

        async def flush(self) -> None:
            pass

    with capture_logs() as logs:
        keys = config(BTC, ETH, keys=("/etc/key.pub",))
        await announce_devices(keys, ThreadedStore(Store(":memory:")), cast("Any", Bus()), "1.0")
    told = [entry for entry in logs if entry["event"] == "home_assistant.no_buttons"]
    assert len(told) == 1
    assert sent[ETH_TOPIC]["components"]["retrain"] == {"platform": "button"}
