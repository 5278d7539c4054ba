import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.mqtt.bot_table import BOTS, MISSED
from daemon.mqtt.messages import encode
from daemon.runtime.swap import DEATHS, REPEAT_S, REPEATS, SwapCoordinator
from hyperdrift.clock import SystemClock
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, SwapAck, SwapOrder
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import read_manifest
from tests.captured import capture_logs
from tests.daemon.brokers import Mosquitto, until
from tests.daemon.versions import write_version
from tests.fakes import FakeClock

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
MOVED_MS = 1_749_000_000_000
POINTER = Path("/models/BTC-5m/LATEST.json")


@dataclass
class Room:
    """A coordinator with a clock of its own, and a bot that only listens."""

    swap: SwapCoordinator
    clock: FakeClock
    bot: MqttConnection
    manifest: Manifest
    acks: list[SwapAck] = field(default_factory=list)
    silences: list[str] = field(default_factory=list)
    orders: list[SwapOrder] = field(default_factory=list)
    bots: list[BotPresence] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)
    marks: Iterator[int] = field(default_factory=itertools.count)

    def order(self) -> str:
        return self.swap.order(SLOT, self.manifest, POINTER, "drift")

    async def bot_is(self, bot_id: str = "b", *, online: bool, **fields: Any) -> None:
        presence = BotPresence(online=online, bot_id=bot_id, **fields)
        self.bot.publish(TOPICS.bot(SLOT, bot_id), presence, retain=True)
        await until(lambda: presence in [bot.presence for bot in self.swap.bots(SLOT)])

    async def answer(self, swap_id: str, status: str = "loaded", bot_id: str = "b") -> None:
        ack = {"swap_id": swap_id, "model_id": "m", "status": status, "bot_id": bot_id}
        self.bot.publish(TOPICS.ack(SLOT), ack)
        await self.settle()

    async def settle(self) -> None:
        """Wait until everything sent so far was heard, by sending something after it."""
        mark = SwapAck(swap_id=f"mark-{next(self.marks)}", model_id="", status="loaded")
        with capture_logs() as logs:
            self.bot.publish(TOPICS.ack(SLOT), mark)
            await until(lambda: mark.swap_id in [entry.get("swap_id") for entry in logs])

    def pass_time(self, seconds: float) -> None:
        self.clock.ms += round(seconds * 1000)
        self.swap.check()

    async def orders_heard(self, count: int) -> None:
        await until(lambda: len(self.orders) == count)
        await asyncio.sleep(0.05)
        assert len(self.orders) == count


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    ours, theirs = (
        MqttConnection(BrokerAddress.parse(broker.url), SystemClock(), encode=encode)
        for _ in range(2)
    )
    acks: list[SwapAck] = []
    silences: list[str] = []
    orders: list[SwapOrder] = []
    bots: list[BotPresence] = []
    clock, free = FakeClock(), asyncio.Event()
    free.set()

    def take_bot(_slot: SlotName, bot: BotPresence) -> bool:
        bots.extend([bot] if free.is_set() else [])
        return free.is_set()

    swap = SwapCoordinator(
        ours,
        TOPICS,
        clock,
        on_ack=lambda _slot, ack, _ms: acks.append(ack),
        on_silence=lambda _slot, text: silences.append(text),
        on_bot=take_bot,
    )
    swap.watch(SLOT)

    def hear(_topic: str, payload: bytes, _retained: bool) -> None:
        orders.append(msgspec.json.decode(payload, type=SwapOrder))

    theirs.subscribe(TOPICS.model(SLOT), hear)
    tasks = [asyncio.create_task(bus.run()) for bus in (ours, theirs)]
    await asyncio.gather(ours.wait_connected(), theirs.wait_connected())
    written = read_manifest(write_version(tmp_path / "version", 1))
    manifest = replace(written, deployed_ms=MOVED_MS)
    yield Room(swap, clock, theirs, manifest, acks, silences, orders, bots, free)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await broker.stop()


async def test_an_order_says_what_to_load_from_where_and_why(room: Room) -> None:
    swap_id = room.order()
    await room.orders_heard(1)
    order = room.orders[0]
    assert (order.swap_id, order.model_id) == (swap_id, room.manifest.model_id)
    assert order.sha256 == dict(room.manifest.sha256)
    assert (order.manifest, order.reason) == (str(POINTER), "drift")
    assert (order.sklearn, order.issued_ms) == (room.manifest.sklearn, MOVED_MS)


def test_a_refusal_that_cannot_be_taken_is_kept_until_it_can(tmp_path: Path) -> None:
    clock, free, acks = FakeClock(), [False], list[str]()
    ours = MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:1"), clock, encode=encode)

    def take(_slot: SlotName, ack: SwapAck, _took_ms: float) -> bool:
        acks.extend([ack.error] if free[0] else [])
        return free[0]

    swap = SwapCoordinator(ours, TOPICS, clock, on_ack=take, on_silence=lambda *_: None)
    manifest = read_manifest(write_version(tmp_path, 1))
    swap_id = swap.order(SLOT, manifest, POINTER, "drift")
    for bot_id in ("a", "b"):
        said = {"swap_id": swap_id, "model_id": "m", "status": "refused", "bot_id": bot_id}
        swap._take_ack(TOPICS.ack(SLOT), json.dumps({**said, "error": bot_id}).encode(), False)
    swap.check()
    assert acks == []
    free[0] = True
    swap.check()
    swap.check()
    assert acks == ["a", "b"]


async def test_an_answer_is_passed_on_once_per_bot_with_the_time_it_took(room: Room) -> None:
    swap_id = room.order()
    room.clock.ms += 250
    await room.answer(swap_id)
    await room.answer(swap_id)  # the answer to a repeat
    await room.answer(swap_id, bot_id="second")
    assert [(ack.bot_id, ack.status) for ack in room.acks] == [
        ("b", "loaded"),
        ("second", "loaded"),
    ]
    assert room.swap.last_ack_ms[SLOT] == 250


async def test_an_answer_to_an_older_order_is_ignored(room: Room) -> None:
    first = room.order()
    second = room.order()
    await room.answer(first, status="refused")
    assert room.acks == []
    await room.answer(second)
    assert [ack.swap_id for ack in room.acks] == [second]


async def test_an_unanswered_order_is_repeated_three_times_and_then_told_once(room: Room) -> None:
    await room.bot_is(online=True)
    room.order()
    for repeat in range(REPEATS):
        await room.orders_heard(1 + repeat)
        room.pass_time(REPEAT_S - 1)
        room.pass_time(1)
    await room.orders_heard(1 + REPEATS)
    assert len({order.swap_id for order in room.orders}) == 1
    assert room.silences == []
    for _ in range(3):
        room.pass_time(REPEAT_S)
    assert len(room.silences) == 1
    assert room.manifest.model_id in room.silences[0]
    assert len(room.orders) == 1 + REPEATS


async def test_without_a_bot_nothing_is_repeated_and_nobody_is_alarmed(room: Room) -> None:
    swap_id = room.order()
    for _ in range(10):
        room.pass_time(REPEAT_S)
    await room.orders_heard(1)
    assert room.silences == []
    await room.bot_is(online=True)  # it finds the order retained, and has its time again
    room.pass_time(REPEAT_S - 1)
    await room.orders_heard(1)
    room.pass_time(1)
    await room.orders_heard(2)
    await room.answer(swap_id)
    for _ in range(10):
        room.pass_time(REPEAT_S)
    await room.orders_heard(2)
    await room.bot_is(online=False)


async def test_a_bot_that_dies_three_times_with_the_order_unanswered_has_refused_it(
    room: Room,
) -> None:
    swap_id = room.order()
    for deaths in range(DEATHS):
        assert room.acks == [], deaths
        await room.bot_is(online=True)
        await room.bot_is(online=False)
    assert [(ack.swap_id, ack.status, ack.bot_id) for ack in room.acks] == [
        (swap_id, "refused", "b")
    ]
    assert "died 3 times" in room.acks[0].error
    await room.bot_is(online=True)
    await room.bot_is(online=False)
    assert len(room.acks) == 1
    assert room.silences == []


async def test_a_bot_that_answered_may_come_and_go_as_it_likes(room: Room) -> None:
    await room.bot_is(online=True)
    await room.answer(room.order())
    for _ in range(DEATHS + 1):
        await room.bot_is(online=True)
        await room.bot_is(online=False)
    assert [ack.status for ack in room.acks] == ["loaded"]


async def test_who_the_bot_is_is_told_once_and_what_is_not_taken_then_is_told_later(
    room: Room,
) -> None:
    await room.bot_is(online=True)
    await room.bot_is(online=True)
    room.pass_time(1)
    assert [bot.online for bot in room.bots] == [True]
    room.free.clear()
    for online in (False, True, False):
        await room.bot_is(online=online)
    room.pass_time(1)
    room.free.set()
    assert len(room.bots) == 1
    for _ in range(2):
        room.pass_time(1)
        assert [bot.online for bot in room.bots] == [True, False]


async def test_of_a_flood_of_answers_a_bounded_number_is_passed_on_and_none_hides_a_refusal(
    room: Room,
) -> None:
    swap_id = room.order()
    for n in range(3 * BOTS):
        ack = {"swap_id": swap_id, "model_id": "m", "status": "loaded", "bot_id": f"forged-{n}"}
        room.bot.publish(TOPICS.ack(SLOT), ack)
    await room.settle()
    assert len(room.acks) == BOTS
    await room.answer(swap_id, "refused")
    assert (room.acks[-1].bot_id, room.acks[-1].status) == ("b", "refused")


async def test_a_late_answer_after_the_alarm_still_counts(room: Room) -> None:
    await room.bot_is(online=True)
    swap_id = room.order()
    for _ in range(REPEATS + 1):
        room.pass_time(REPEAT_S)
    assert len(room.silences) == 1
    await room.answer(swap_id)
    assert [ack.status for ack in room.acks] == ["loaded"]


async def test_an_order_is_as_old_as_the_move_of_its_pointer_whatever_the_wall_clock_says(
    room: Room,
) -> None:
    first = room.order()
    await room.orders_heard(1)
    room.clock.ms -= 3_600_000  # and the daemon starts again
    second = room.order()
    await until(lambda: [order.swap_id for order in room.orders] == [first, second])
    assert {order.issued_ms for order in room.orders} == {MOVED_MS}


async def test_malformed_answers_are_logged_once_and_stop_nothing(room: Room) -> None:
    swap_id = room.order()
    with capture_logs() as logs:
        for _ in range(3):
            room.bot.publish(TOPICS.ack(SLOT), {"swap_id": 5})
        room.bot.publish(TOPICS.ack(SLOT), {"swap_id": swap_id, "model_id": "m", "status": "hm"})
        await room.bot.flush()
        await until(lambda: [e["event"] for e in logs].count("bus.malformed") == 1)
    await room.answer(swap_id)
    assert [e["event"] for e in logs].count("bus.malformed") == 1
    assert len(room.acks) == 1


async def test_a_refusal_waits_until_every_bot_that_is_online_has_answered(room: Room) -> None:
    for bot_id in ("good", "bad", "slow"):
        await room.bot_is(bot_id, online=True)
    swap_id = room.order()
    await room.answer(swap_id, "refused", "bad")
    room.pass_time(1)
    assert room.acks == []
    await room.answer(swap_id, "loaded", "good")
    assert [(ack.bot_id, ack.status) for ack in room.acks] == [
        ("good", "loaded"),
        ("bad", "refused"),
    ]
    for _ in range(REPEATS + 1):
        room.pass_time(REPEAT_S)
    assert ["bot slow has not answered" in text for text in room.silences] == [True]


@pytest.mark.parametrize("ends", ["refuses", "leaves", "is silent"])
async def test_a_refusal_that_no_other_bot_disproves_is_passed_on(room: Room, ends: str) -> None:
    for bot_id in ("bad", "other"):
        await room.bot_is(bot_id, online=True)
    swap_id = room.order()
    await room.answer(swap_id, "refused", "bad")
    if ends == "refuses":
        await room.answer(swap_id, "refused", "other")
    elif ends == "leaves":
        await room.bot_is("other", online=False)
        room.pass_time(1)
    else:
        for _ in range(REPEATS + 1):
            room.pass_time(REPEAT_S)
    assert room.acks[0].bot_id == "bad"


async def test_a_bot_that_waits_for_files_is_told_of_by_name_and_its_deaths_refuse_nothing(
    room: Room,
) -> None:
    await room.bot_is(online=True)
    room.order()
    for n in range(DEATHS + 1):
        await room.bot_is(online=True, waiting_for=f"the disk is away {n}")
        await room.bot_is(online=False)
    assert room.acks == []
    await room.bot_is(online=True, waiting_for="the disk is away")
    for _ in range(REPEATS + 1):
        room.pass_time(REPEAT_S)
    (said,) = room.silences
    assert said.startswith("bot b cannot load")
    assert said.endswith("asks on: the disk is away")


async def test_a_bot_whose_heart_stops_while_the_broker_calls_it_online_is_a_ghost(
    room: Room,
) -> None:
    await room.bot_is("dead", online=True, heartbeat_s=30.0)
    await room.bot_is("alive", online=True, heartbeat_s=30.0)
    await room.bot_is("older", online=True)  # of before there was a heartbeat
    for _ in range(MISSED):
        room.pass_time(31)
        await room.bot_is("alive", online=True, heartbeat_s=30.0, model_id=str(room.clock.ms))
    room.pass_time(1)
    (said,) = room.silences
    assert said.startswith("bot dead is a ghost")
    assert {bot.bot_id for bot in room.swap.bots(SLOT) if bot.presence.online} == {"alive", "older"}
    assert [bot.bot_id for bot in room.bots if not bot.online] == ["dead"]
    kept = dict[str, bytes]()
    room.bot.subscribe(f"{TOPICS.prefix}/+/bot/+", lambda t, body, _r: kept.update({t: body}))
    await until(lambda: TOPICS.bot(SLOT, "older") in kept and TOPICS.bot(SLOT, "alive") in kept)
    assert TOPICS.bot(SLOT, "dead") not in kept
    await room.bot_is("dead", online=True, heartbeat_s=30.0)  # it lives after all


async def test_a_presence_at_the_topic_of_another_bot_is_not_taken(room: Room) -> None:
    await room.bot_is("mine", online=True)
    forged = BotPresence(online=False, bot_id="mine")
    with capture_logs() as logs:
        for _ in range(2):
            room.bot.publish(TOPICS.bot(SLOT, "other"), forged, retain=True)
            await room.bot.flush()
        await until(lambda: [e["event"] for e in logs] == ["bot.misplaced"])
    room.bot.publish(TOPICS.bots(SLOT)[1], forged, retain=True)  # left by an older version of it
    await room.bot.flush()
    await room.settle()
    assert [bot.presence.online for bot in room.swap.bots(SLOT)] == [True]


async def test_a_bot_of_before_there_were_several_is_heard_at_the_older_topic(room: Room) -> None:
    presence = BotPresence(online=True, bot_id="old")
    room.bot.publish(TOPICS.bots(SLOT)[1], presence, retain=True)
    await until(lambda: room.swap.bot(SLOT) == presence)
    room.bot.publish(TOPICS.bots(SLOT)[1], None, retain=True)  # a person clears it
    await until(lambda: room.swap.bot(SLOT) is None)


async def test_the_loop_checks_by_itself(room: Room) -> None:
    await room.bot_is(online=True)
    room.order()
    task = asyncio.create_task(room.swap.run())
    await until(lambda: room.silences)  # the fake clock runs as fast as it is asked
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_slot_that_is_served_no_longer_repeats_nothing_and_knows_its_bots_when_it_returns(
    room: Room,
) -> None:
    await room.bot_is(online=True)
    room.order()
    await room.orders_heard(1)
    room.swap.unwatch(SLOT)
    room.pass_time(REPEAT_S + 1)
    await room.orders_heard(1)
    assert room.silences == []
    room.bots.clear()
    room.swap.watch(SLOT)
    room.pass_time(1)
    assert [bot.bot_id for bot in room.bots] == ["b"]
    room.order()
    await room.orders_heard(2)
