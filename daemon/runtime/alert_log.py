"""Write those alerts and alarms into the journal that no engine gave: of market, host and bots."""

import asyncio
from typing import Final

from daemon.runtime.announcements import Announcement, Announcements
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

_KINDS: Final = frozenset(
    {"alert", "gap", "hole_closing", "market_drift", "slots_changed", "trouble_over"}
)
# If it is full the disk is slow; the log has every alert anyway.
_WAITING: Final = 100


class AlertLog:
    """Writes alerts from a task of its own: who raises one must not wait for the disk.

    Args:
        announcements: Has the alerts; it is listened to from now on.
    """

    def __init__(self, announcements: Announcements) -> None:
        self._waiting: asyncio.Queue[Announcement] = asyncio.Queue(_WAITING)
        announcements.listen(self._take)

    def _take(self, told: Announcement) -> None:
        if told.kind in _KINDS and not told.seq and not self._waiting.full():
            self._waiting.put_nowait(told)

    async def run(self, store: AsyncStore) -> None:
        """Write what is told and not in the journal yet, until cancelled."""
        while True:
            told = await self._waiting.get()
            slot = SlotName.parse(told.slot) if told.slot else None
            fields = {"text": told.text, **told.fields}
            await store.call(Store.append_journal, slot, told.at_ms, told.kind, fields)
