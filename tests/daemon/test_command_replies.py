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

from daemon.address import BrokerAddress
from daemon.audit import Audit
from daemon.bars import SlotName
from daemon.bus import Bus
from daemon.clock import SystemClock, VenueClock
from daemon.imports import open_store
from daemon.intake import Intake
from daemon.messages import CommandReply
from daemon.store import AsyncStore
from daemon.topics import Topics
from daemon.trades import TradeBook
from monitor.events import CommandReceived, Event
from tests.daemon.brokers import Iotcore, until

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()


@dataclass
class Keeper:
    """Takes what the intake lets through, and answers as the engine would."""

    bus: Bus
    through: list[CommandReceived] = field(default_factory=list)

    def put_nowait(self, event: Event) -> bool:
        assert isinstance(event, CommandReceived)
        self.through.append(event)
        reply = CommandReply(request_id=event.request_id, accepted=True, detail="done")
        self.bus.publish(TOPICS.reply(SLOT), reply)
        return True


def open_desk(bus: Bus, keeper: Keeper, store: AsyncStore) -> Audit:
    """Listen for commands as a daemon that starts does."""
    clock = SystemClock()
    venue = VenueClock(clock)
    audit, book = Audit(store, clock, venue), TradeBook(venue)
    keepers: Any = {SLOT: keeper}
    Intake(keepers, bus, TOPICS, clock=clock, venue=venue, audit=audit, book=book).listen()
    return audit


@dataclass
class Room:
    """An operator's connection, and the replies that came on any topic."""

    bus: Bus
    keeper: Keeper
    replies: list[tuple[str, dict[str, Any]]]
    store: AsyncStore


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    broker, clock = Iotcore(tmp_path), SystemClock()
    await broker.start()
    ours, theirs = (Bus(BrokerAddress.parse(broker.url), clock) for _ in range(2))
    store, keeper = AsyncStore(open_store(tmp_path)), Keeper(ours)
    audit = open_desk(ours, keeper, store)
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
    assert [(event.request_id, event.by) for event in room.keeper.through] == [("good", "alice")]


async def test_refusals_stand_in_the_journal(room: Room) -> None:
    room.bus.publish("hyperdrift/BTC-5m/command", {"request_id": "x"})
    await until(lambda: room.replies)
    entry = next(iter(await room.store.call(lambda s: list(s.journal(SLOT)))))
    assert entry.kind == "command_answered"
    assert (entry.body["request_id"], entry.body["accepted"]) == ("x", False)


async def test_a_command_that_was_kept_by_the_broker_is_answered_and_refused(room: Room) -> None:
    body = {"command": "pause", "request_id": "kept", "issued_ms": SystemClock().now_ms()}
    room.bus.publish("hyperdrift/BTC-5m/command", body, retain=True)
    await until(lambda: room.replies)
    later = Bus(room.bus._address, SystemClock())
    keeper = Keeper(later)
    open_desk(later, keeper, room.store)
    task = asyncio.create_task(later.run())
    await until(lambda: len(room.replies) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert keeper.through == []
    assert "retained commands are refused" in room.replies[1][1]["detail"]
