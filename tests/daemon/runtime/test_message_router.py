"""What anybody may publish: a flood of it fills neither memory nor journal, and hides nothing."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import pytest

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import encode
from daemon.runtime.bots.presence_debounce import AT_ONCE as BOTS_AT_ONCE
from daemon.runtime.bots.presence_debounce import EVERY_S, PresenceDebounce
from daemon.runtime.inbox import Inbox
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.swap import SwapCoordinator
from daemon.runtime.trades import AT_ONCE, PER_BAR, TradeBook, TradeLimit
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, SwapAck
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.events import Ticked, TradeClosed
from tests.captured import capture_logs
from tests.daemon.brokers import Embedded, Mosquitto, connection, subscribed, until
from tests.fakes import FakeClock

SLOT, OTHER, TOPICS = SlotName("BTC", "5m"), SlotName("ETH", "5m"), Topics()
BAR_MS = SLOT.interval_ms
FLOOD = 5000
needs_clients = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="needs mosquitto-clients"
)


def trade(trade_id: str) -> dict[str, Any]:
    times = {"opened_ms": FakeClock().now_ms() - 1, "closed_ms": FakeClock().now_ms()}
    prices = {"entry": 1.0, "exit": 1.0, "size": 1.0, "fee": 0.0, "pnl": 1.0}
    return {"trade_id": trade_id, "side": "buy", **times, **prices}


class Trades:
    """A keeper's, as far as trades go."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def put_nowait(self, item: TradeClosed) -> bool:
        self.taken.append(item.trade_id)
        return True


async def pour(port: int, slot: SlotName, ids: list[str]) -> None:
    """Publish a trade a line, as fast as the broker takes them."""
    await publish(port, TOPICS.trade(slot), [trade(trade_id) for trade_id in ids])


async def publish(port: int, topic: str, bodies: Iterable[dict[str, Any]], *options: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *("mosquitto_pub", "-p", str(port), "-q", "1", "-l", "-t", topic, *options),
        stdin=asyncio.subprocess.PIPE,
    )
    text = "".join(json.dumps(body) + "\n" for body in bodies)
    await process.communicate(text.encode())
    assert process.returncode == 0


async def until_it_has(heard: Callable[[], object], say: Callable[[], Awaitable[None]]) -> None:
    """Say it until it is heard: a broker drops what comes while too much waits for a reader."""
    while not heard():
        await say()
        with contextlib.suppress(TimeoutError):
            await until(heard, within_s=2)


@needs_clients
async def test_of_a_flood_of_trades_a_bounded_number_is_taken_and_it_is_told_of_once(
    broker: Mosquitto | Embedded,
) -> None:
    clock, port = FakeClock(), BrokerAddress.parse(broker.url).port
    venue, inboxes = VenueClock(clock), {SLOT: Trades(), OTHER: Trades()}
    taken = inboxes[SLOT].taken
    with capture_logs() as logs:
        async with connection(broker.url) as bus, connection(broker.url) as ear:
            alerts: list[dict[str, Any]] = []
            ear.subscribe(TOPICS.event(SLOT), lambda _t, body, _r: alerts.append(json.loads(body)))
            book = TradeBook(venue)
            nobody = cast("Any", None)
            MessageRouter(
                cast("Any", inboxes), bus, TOPICS, clock=clock, venue=venue, audit=nobody, book=book
            ).listen()
            await subscribed(bus, ear)
            await pour(port, SLOT, [f"forged-{n}" for n in range(FLOOD)])
            other = inboxes[OTHER].taken
            await until_it_has(lambda: other == ["real"], lambda: pour(port, OTHER, ["real"]))
            assert taken == [f"forged-{n}" for n in range(AT_ONCE)]
            assert len(book._taken) == AT_ONCE + 1
            clock.ms += BAR_MS
            await pour(port, SLOT, ["forged-0", *(f"more-{n}" for n in range(FLOOD))])
            await until_it_has(lambda: len(other) == 2, lambda: pour(port, OTHER, ["next"]))
            assert len(taken) == len(set(taken)) == AT_ONCE + PER_BAR
            clock.ms += 3 * BAR_MS
            await pour(port, SLOT, ["real"])
            await until(lambda: taken[-1] == "real")
            await until(lambda: alerts)
    said = [entry for entry in logs if entry["event"].startswith("trades.")]
    assert [entry["event"] for entry in said] == ["trades.flooded", "trades.flood_over"]
    assert AT_ONCE < said[1]["refused"] < 2 * FLOOD  # the broker drops some itself
    assert [alert["kind"] for alert in alerts] == ["alert"]
    assert "see who may publish on the broker" in alerts[0]["text"]


def test_what_a_bot_could_not_send_for_an_hour_is_taken_at_once() -> None:
    clock, told = FakeClock(), list[str]()
    limit = TradeLimit(VenueClock(clock), lambda _slot, text: told.append(text))
    for _ in range(30):
        clock.ms += 12 * BAR_MS
        assert all(limit.take(SLOT) for _ in range(12 * PER_BAR))
    assert told == []


def presence(bot_id: str, *, online: bool) -> dict[str, Any]:
    return {"online": online, "bot_id": bot_id}


class News:
    """A keeper's inbox, as far as bots go."""

    def __init__(self) -> None:
        self.taken: list[BotPresence] = []

    def put_nowait(self, item: BotPresence) -> bool:
        self.taken.append(item)
        return True


def coordinator(
    bus: MqttConnection, inboxes: dict[SlotName, News], clock: FakeClock
) -> SwapCoordinator:
    """Listen for bots as a daemon does."""
    nobody, venue = cast("Any", None), VenueClock(clock)
    keepers = cast("Any", inboxes)
    intake = MessageRouter(
        keepers, bus, TOPICS, clock=clock, venue=venue, audit=nobody, book=nobody
    )
    swap = SwapCoordinator(
        bus, TOPICS, clock, on_ack=nobody, on_silence=nobody, on_bot=intake.bot_seen
    )
    for slot in inboxes:
        swap.watch(slot)
    return swap


@needs_clients
async def test_of_a_bot_that_comes_and_goes_without_end_the_newest_state_stands_and_it_is_told_of(
    broker: Mosquitto | Embedded,
) -> None:
    clock, port = FakeClock(), BrokerAddress.parse(broker.url).port
    inboxes, alerts = {SLOT: News(), OTHER: News()}, list[dict[str, Any]]()
    taken = inboxes[SLOT].taken
    with capture_logs() as logs:
        async with connection(broker.url) as bus, connection(broker.url) as ear:
            ear.subscribe(TOPICS.event(SLOT), lambda _t, body, _r: alerts.append(json.loads(body)))
            swap = coordinator(bus, inboxes, clock)
            await subscribed(bus, ear)
            flaps = [presence(f"b{n % 7}", online=bool(n % 2)) for n in range(FLOOD)]
            await publish(port, TOPICS.bots(SLOT)[1], flaps, "-r")
            topic, here = TOPICS.bots(OTHER)[1], [presence("other", online=True)]
            other = inboxes[OTHER].taken
            await until_it_has(lambda: other, lambda: publish(port, topic, here, "-r"))
            for last in ("one", "two"):
                await publish(port, TOPICS.bots(SLOT)[1], [presence(last, online=True)], "-r")
                await until(lambda: swap.bot(SLOT) == BotPresence(online=True, bot_id=last))  # noqa: B023
                swap.check()
            assert len(taken) == BOTS_AT_ONCE
            clock.ms += round(EVERY_S * 1000) + 1
            for _ in range(3):
                swap.check()
            assert [bot.bot_id for bot in taken[BOTS_AT_ONCE:]] == ["two"]
            await until(lambda: alerts)
    said = [entry["event"] for entry in logs if entry["event"].startswith("bot.")]
    assert said.count("bot.flaps") == len(alerts) == 1
    assert said.count("bot.presence") == len(taken) + 1
    assert "comes and goes without end: see its log" in alerts[0]["text"]


def test_a_bot_that_is_started_again_now_and_then_is_told_of_each_time() -> None:
    clock, told = FakeClock(), list[str]()
    flaps = PresenceDebounce(clock, lambda _slot, text: told.append(text))
    for _ in range(100):
        clock.ms += round(2 * EVERY_S * 1000)
        assert all(flaps.pass_on(SLOT, lambda: True) for _ in range(2))
    assert not any(flaps.pass_on(SLOT, lambda: False) for _ in range(3 * BOTS_AT_ONCE))
    assert told == []
    for flood in (1, 2):
        clock.ms += round((BOTS_AT_ONCE + 1) * EVERY_S * 1000)
        passed = [flaps.pass_on(SLOT, lambda: True) for _ in range(3 * BOTS_AT_ONCE)]
        assert (passed.count(True), len(told)) == (BOTS_AT_ONCE, flood)
        for _ in range(BOTS_AT_ONCE):  # it goes on
            clock.ms += round(EVERY_S * 1000) + 1
            passed = [flaps.pass_on(SLOT, lambda: True) for _ in range(3)]
            assert (passed, len(told)) == ([True, False, False], flood)


async def test_an_answer_that_meets_a_full_inbox_is_not_taken_and_told_of_only_when_it_is() -> None:
    clock, inbox = FakeClock(), Inbox()
    bus = MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:1"), clock, encode=encode)
    nobody, venue = cast("Any", None), VenueClock(clock)
    router = MessageRouter(
        {SLOT: inbox}, bus, TOPICS, clock=clock, venue=venue, audit=nobody, book=nobody
    )
    while inbox.put_nowait(Ticked(slot=str(SLOT), at_ms=0)):
        pass
    ack = SwapAck(swap_id="s", model_id="m", status="refused", error="digest", bot_id="b")
    assert not router.acknowledged(SLOT, ack, 1.0)
    assert not bus.queue.events
    await inbox.get()
    assert router.acknowledged(SLOT, ack, 1.0)
    assert [json.loads(event.body)["kind"] for event in bus.queue.events] == ["acknowledged"]


HOSTILE_TOPICS = (
    *("hyperdrift//command", "hyperdrift/" + "x" * 65_516 + "/command"),
    *("hyperdrift/" + "x" * 65_513 + "-5m/command", "hyperdrift/" + "\u202e" * 9000 + "/trade"),
    *("hyperdrift/BTC-5m\x1b[2J/command", "hyperdrift/\n-5m/command", "hyperdrift/$SYS/trade"),
)
RAW_TOPICS = (b"hyperdrift/\xff/command", b"hyperdrift/\0/command", b"hyperdrift/#/trade", b"")


def raw_publish(topic: bytes, payload: bytes) -> bytes:
    """Return the packets of a client that says hello and publishes, for what no library sends."""
    body = len(topic).to_bytes(2, "big") + topic + payload
    length = bytes((len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14))
    hello = b"\0\4MQTT\4\2\0\0\0\1r"
    return b"\x10" + bytes((len(hello),)) + hello + b"\x30" + length + body


async def say_raw(port: int, topic: bytes, payload: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw_publish(topic, payload) + b"\xe0\0")
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 60)
    writer.close()


async def test_no_topic_stops_the_daemon_or_makes_long_lines(broker: Mosquitto | Embedded) -> None:
    clock, port = FakeClock(), BrokerAddress.parse(broker.url).port
    venue, inbox = VenueClock(clock), Trades()
    with capture_logs() as logs:
        async with connection(broker.url) as bus, connection(broker.url) as one:
            MessageRouter(
                cast("Any", {SLOT: inbox}),
                bus,
                TOPICS,
                clock=clock,
                venue=venue,
                audit=cast("Any", None),
                book=TradeBook(venue),
            ).listen()
            await subscribed(bus)
            for topic in (*(topic.encode() for topic in HOSTILE_TOPICS), *RAW_TOPICS):
                await say_raw(port, topic, b'{"request_id": "\\u001b[2J"}')
            for slot in range(200):
                await say_raw(port, f"hyperdrift/X{slot}-5m/command".encode(), b"{}")
            one.publish(TOPICS.trade(SLOT), trade("real"))
            await until(lambda: inbox.taken == ["real"])
            assert bus.connected
    assert not {entry["event"] for entry in logs} & {"bus.lost", "bus.handler_failed"}
    refused = [entry for entry in logs if entry["event"] == "command.refused"]
    assert len(refused) > 200
    assert not any("slot" in entry for entry in refused)  # or each would have lines of its own
    assert max(len(str(value)) for entry in logs for value in entry.values()) < 500
