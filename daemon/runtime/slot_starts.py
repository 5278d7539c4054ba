"""Start all slots together: first their models are served, then what they missed is scored.

The bars that were missed come from the venue. If it is away, the slots do not wait for it: they
answer bots and operators, and score those bars when it is back.
"""

import asyncio
import math
from collections.abc import Collection, Mapping
from typing import Final

from daemon.runtime.inbox import HistoryFetched, Inbox
from daemon.runtime.slot_runner import SlotStart
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

TURNS: Final = 2
"""So many slots load their models at once: each thread more makes the event loop wait longer."""


class SlotStarts:
    """The starts of all slots.

    Args:
        slots: The slots.

    Attributes:
        of: The start of each slot.
    """

    def __init__(self, slots: Collection[SlotName]) -> None:
        self._go_on = asyncio.Event()
        turns = asyncio.Semaphore(TURNS)
        self.of = {slot: SlotStart(self._go_on, turns) for slot in slots}

    async def rebuilt(self) -> None:
        """Wait until every engine is rebuilt and every live model is loaded."""
        for start in self.of.values():
            await start.rebuilt.wait()

    async def go_on_after(self, seconds: float, clock: Clock) -> None:
        """Let the slots go on without the venue after so many seconds, which may be infinite."""
        if math.isinf(seconds):
            return
        await clock.sleep(seconds)
        self._go_on.set()

    async def settled(self) -> None:
        """Wait until no slot is on its way: each waits for `finish`, or serves already.

        While a slot scores what is stored, nothing older may be stored beside it.
        """
        if self._go_on.is_set():
            for start in self.of.values():
                await start.recovered.wait()

    async def finish(self, inboxes: Mapping[SlotName, Inbox]) -> None:
        """Have the missed bars scored; all that can be fetched are stored now."""
        scored = [start.recovered for start in self.of.values()]
        if self._go_on.is_set():
            scored = [asyncio.Event() for _ in inboxes]
            for inbox, event in zip(inboxes.values(), scored, strict=True):
                await inbox.put(HistoryFetched(event))
        self._go_on.set()
        for event in scored:
            await event.wait()
