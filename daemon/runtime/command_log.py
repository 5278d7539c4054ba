"""Write the answers to commands into the journal, refusals too."""

import asyncio
from typing import Final

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import CommandReply
from daemon.runtime.commands import RateLimit
from daemon.store.async_store import AsyncStore
from daemon.store.journal_kinds import COMMAND_ANSWERED
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

_LONGEST_ID: Final = 200


class CommandLog:
    """Writes refusals from a task of its own; a flood of commands does not fill the disk."""

    def __init__(self, store: AsyncStore, clock: Clock, venue: VenueClock) -> None:
        self._store, self._venue, self._limit = store, venue, RateLimit(clock)
        # If it is full the disk is slow; the log has every refusal anyway.
        self._waiting: asyncio.Queue[tuple[SlotName, CommandReply]] = asyncio.Queue(100)

    def refused(self, slot: SlotName, reply: CommandReply) -> None:
        """Queue a refusal for the journal; drop it if the queue is full."""
        if not self._waiting.full() and self._limit.take():
            self._waiting.put_nowait((slot, reply))

    async def run(self) -> None:
        """Write the queued refusals, until cancelled."""
        while True:
            slot, reply = await self._waiting.get()
            at_ms = self._venue.now_ms()
            await self._store.call(append_answer, slot, at_ms, reply)


def append_answer(store: Store, slot: SlotName, at_ms: int, reply: CommandReply) -> None:
    """Write one answer to the journal; a request id may be as long as a message, so it is cut."""
    entry = {
        "request_id": reply.request_id[:_LONGEST_ID],
        "accepted": reply.accepted,
        "detail": reply.detail,
    }
    store.append_journal(slot, at_ms, COMMAND_ANSWERED, entry)
