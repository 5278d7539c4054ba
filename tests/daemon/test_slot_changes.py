"""A slot that is removed has ended before what it knows is kept; `tests/system` has the rest."""

import asyncio
from types import SimpleNamespace
from typing import Any

from daemon.core.slot_troubles import SlotTroubles
from daemon.runtime.inbox import Inbox
from daemon.slot_changes import SlotChanges
from hyperdrift.slot_name import SlotName

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
