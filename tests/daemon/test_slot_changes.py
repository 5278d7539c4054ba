"""A slot that is removed has ended before what it knows is kept; `tests/system` has the rest."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from daemon.config.followed_coins import write_followed
from daemon.config.schema import Config, DaemonSection
from daemon.config.slot_entries import SlotEntry
from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles
from daemon.runtime.inbox import Inbox
from daemon.slot_changes import SlotChanges, SlotPlan
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from daemon.wiring import SharedParts
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from tests.daemon.service.test_removed_slots import Bus

BTC = SlotName("BTC", "5m")


class Forgets:
    """A part that only has to forget a slot."""

    async def remove(self, slot: SlotName) -> None:
        """Forget it."""

    def unwatch(self, slot: SlotName) -> None:
        """Forget it."""


class Listed:
    """The coins that are listed."""

    def remove(self, slot: SlotName) -> None:
        """Forget it."""


class Runner:
    """A slot that handles events all the time, as one does whose retrain ends just now."""

    def __init__(self) -> None:
        self.handled = 0
        self.noted: list[int] = []

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.handled += 1

    async def note_stop(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)  # as a thread takes the engine's state
            self.noted.append(self.handled)


async def test_the_engine_of_a_removed_slot_is_kept_when_nothing_changes_it_any_more() -> None:
    runner = Runner()
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(runner.run())
        parts: Any = SimpleNamespace(
            inboxes={BTC: Inbox()}, runners={BTC: runner}, keepers={BTC: keeper}, swap=Forgets()
        )
        shared: Any = SimpleNamespace(troubles=SlotTroubles())
        others: dict[str, Any] = {"feed": Forgets(), "listed": Listed(), "status": None}
        await asyncio.sleep(0)
        await SlotChanges(shared, parts, tasks, flow=None, **others)._remove(BTC)
    assert len(set(runner.noted)) == 1
    assert not parts.keepers


async def test_slots_that_no_star_chose_in_the_end_leave_nothing(tmp_path: Path) -> None:
    bus, topics, store = Bus(), Topics(), ThreadedStore(Store(":memory:"))
    star = (SlotEntry(coin="*"),)
    config = Config(slots=(), entries=star, daemon=DaemonSection(data_dir=str(tmp_path)))
    shared: Any = SharedParts(config, *[None] * 7)  # type: ignore[arg-type]
    shared = replace(shared, bus=bus, topics=topics, store=store, venue=VenueClock(SystemClock()))
    parts: Any = SimpleNamespace(inboxes={}, held=[BTC])
    async with asyncio.TaskGroup() as tasks:
        others: dict[str, Any] = {"feed": None, "listed": None, "status": None}
        changes = SlotChanges(shared, parts, tasks, flow=None, **others)
        plan = SlotPlan(shared, (), {}, ())
        await changes.carry_out(plan)
        assert (parts.held, bus.cleared) == ([BTC], [])
        write_followed(tmp_path, {"5m": ()})
        await changes.carry_out(plan)
    assert (parts.held, bus.cleared) == ([], [topics.model(BTC), topics.state(BTC)])
