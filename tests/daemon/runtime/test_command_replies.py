"""Over a real broker: each command is answered exactly once, by the name that it gave itself."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import CommandReply, encode
from daemon.runtime import event_codec
from daemon.runtime.command_log import CommandLog
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.trades import TradeBook
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from hyperdrift.clock import Clock, SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.events import CommandReceived, Event
from tests.daemon.brokers import Embedded, Mosquitto, connection, subscribed, until
from tests.fakes import FakeClock

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()


@dataclass
class SlotRunner:
    """Takes what the intake lets through, writes it down, and answers as the engine would."""

    bus: MqttConnection
    store: ThreadedStore
    through: list[CommandReceived] = field(default_factory=list)

    def put_nowait(self, event: Event) -> bool:
        assert isinstance(event, CommandReceived)
        self.through.append(event)
        self.store.store.append_journal(SLOT, event.at_ms, *event_codec.body(event))
        reply = CommandReply(request_id=event.request_id, accepted=True, detail="done")
        self.bus.publish(TOPICS.reply(SLOT), reply)
        return True


async def open_desk(keeper: SlotRunner, clock: Clock) -> CommandLog:
    """Listen for commands as a daemon that starts does."""
    venue, store = VenueClock(clock), keeper.store
    audit, book = CommandLog(store, clock, venue), TradeBook(venue)
    keepers: Any = {SLOT: keeper}
    intake = MessageRouter(
        keepers, keeper.bus, TOPICS, clock=clock, venue=venue, audit=audit, book=book
    )
    await intake.recall(store)
    intake.listen()
    return audit


@dataclass
class Room:
    """An operator's connection, and the replies that came on any topic."""

    bus: MqttConnection
    keeper: SlotRunner
    replies: list[tuple[str, dict[str, Any]]]
    store: ThreadedStore


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    broker, clock = Embedded(tmp_path), SystemClock()
    await broker.start()
    ours, theirs = (
        MqttConnection(BrokerAddress.parse(broker.url), clock, encode=encode) for _ in range(2)
    )
    store = ThreadedStore(open_store(tmp_path))
    keeper = SlotRunner(ours, store)
    audit = await open_desk(keeper, clock)
    replies: list[tuple[str, dict[str, Any]]] = []
    theirs.subscribe(
        "hyperdrift/+/command/reply", lambda t, body, _r: replies.append((t, json.loads(body)))
    )
    tasks = [asyncio.create_task(work) for work in (ours.run(), theirs.run(), audit.run())]
    await asyncio.gather(ours.wait_connected(), theirs.wait_connected())
    yield Room(theirs, keeper, replies, store)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    store.close()
    with contextlib.suppress(OSError):
        await broker.stop()


async def test_every_command_good_or_bad_gets_exactly_one_reply_with_its_request_id(
    room: Room,
) -> None:
    now = SystemClock().now_ms()
    good = {"command": "pause", "issued_ms": now, "by": "alice", "reason": "news"}
    sent: list[tuple[str, dict[str, Any], bool]] = [
        ("BTC-5m", {**good, "request_id": "good"}, True),
        ("BTC-5m", {**good, "request_id": "good"}, False),  # replayed
        ("BTC-5m", {**good, "request_id": "stale", "issued_ms": now - 70_000}, False),
        ("BTC-5m", {**good, "request_id": "future", "issued_ms": now + 70_000}, False),
        ("BTC-5m", {**good, "request_id": "unknown", "command": "format"}, False),
        ("BTC-5m", {**good, "request_id": "malformed", "issued_ms": "now"}, False),
        ("BTC-5m", {**good, "request_id": "promote", "command": "promote"}, False),
        ("SOL-5m", {**good, "request_id": "elsewhere"}, False),
        ("nowhere", {**good, "request_id": "no-slot"}, False),
    ]
    for slot, body, _ in sent:
        room.bus.publish(f"hyperdrift/{slot}/command", body)
        await room.bus.flush()
    await until(lambda: len(room.replies) == len(sent))
    await asyncio.sleep(0.1)
    told = Counter((reply["request_id"], reply["accepted"]) for _, reply in room.replies)
    assert told == Counter((body["request_id"], accepted) for _, body, accepted in sent)
    topics = {reply["request_id"]: topic for topic, reply in room.replies}
    assert topics["elsewhere"] == "hyperdrift/SOL-5m/command/reply"
    assert topics["no-slot"] == "hyperdrift/nowhere/command/reply"
    assert [(event.request_id, event.by) for event in room.keeper.through] == [
        ("good", "unproven (alice)")
    ]


async def test_refusals_stand_in_the_journal(room: Room) -> None:
    room.bus.publish("hyperdrift/BTC-5m/command", {"request_id": "x"})
    await until(lambda: list(room.store.store.journal(SLOT)))
    (entry,) = room.store.store.journal(SLOT)
    assert entry.kind == "command_answered"
    assert (entry.body["request_id"], entry.body["accepted"]) == ("x", False)


async def test_a_command_that_was_kept_by_the_broker_is_answered_and_refused(room: Room) -> None:
    body = {"command": "pause", "request_id": "kept", "issued_ms": SystemClock().now_ms()}
    room.bus.publish("hyperdrift/BTC-5m/command", body, retain=True)
    await until(lambda: room.replies)
    later = MqttConnection(room.bus._address, SystemClock(), encode=encode)
    keeper = SlotRunner(later, room.store)
    await open_desk(keeper, SystemClock())
    task = asyncio.create_task(later.run())
    await until(lambda: len(room.replies) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert keeper.through == []
    assert "retained commands are refused" in room.replies[1][1]["detail"]


@contextlib.asynccontextmanager
async def life(url: str, store: ThreadedStore, clock: FakeClock) -> AsyncIterator[SlotRunner]:
    """Hold a daemon that started five seconds ago."""
    async with connection(url) as bus:
        keeper = SlotRunner(bus, store)
        await open_desk(keeper, clock)
        clock.ms += 5000
        await subscribed(bus)
        yield keeper


async def test_a_command_is_not_carried_out_again_after_a_restart_where_the_clock_was_set_back(
    broker: Mosquitto | Embedded, tmp_path: Path
) -> None:
    store, clock, replies = ThreadedStore(open_store(tmp_path)), FakeClock(), list[dict[str, Any]]()
    body = {"command": "pause", "request_id": "1", "issued_ms": clock.ms + 1000}
    topic = "hyperdrift/BTC-5m/command"
    async with connection(broker.url) as operator:
        operator.subscribe(f"{topic}/reply", lambda _t, body, _r: replies.append(json.loads(body)))
        async with life(broker.url, store, clock) as first:
            operator.publish(topic, body)
            await until(lambda: replies)
        clock.ms += 3_600_000
        async with life(broker.url, store, clock) as second:
            clock.ahead_ms = first.through[0].issued_ms + 1000 - clock.ms
            operator.publish(topic, body)
            await until(lambda: len(replies) == 2)
            operator.publish(topic, {**body, "issued_ms": clock.now_ms()})
            await until(lambda: len(replies) == 3)
    store.close()
    assert [reply["accepted"] for reply in replies] == [True, False, True]
    assert "handled before; use a new one" in replies[1]["detail"]
    assert [event.issued_ms for event in second.through] == [clock.now_ms()]
