"""The inbox of a slot: everything that changes the slot goes through it, in order."""

import asyncio
from dataclasses import dataclass
from typing import Final

from daemon.core.bars import Bar
from daemon.core.slot_troubles import TroubleChanged
from hyperdrift.mqtt.messages import BotPresence
from monitor import events

# If it is full, scoring is late and the feed waits. A closed bar is never dropped.
INBOX: Final = 4096
# Predictions have a limit of their own, so that thousands of them leave room for the rest.
PREDICTIONS: Final = 4096


@dataclass(frozen=True, slots=True)
class BotPrediction:
    """A bot predicted the bar that opened at `t`; received at `at_ms`, both ms UTC.

    `features` are those that it used, with None for undefined ones; None if not sent. `bot_id`
    is empty for a bot of before there were several on a slot.
    """

    t: int
    features: tuple[float | None, ...] | None
    at_ms: int
    bot_id: str = ""


@dataclass(frozen=True, slots=True)
class HistoryFetched:
    """Bars from before the slot's first scored bar were stored after the start.

    `scored` is given if newer ones were stored too and nobody delivers them: the slot scores
    them and sets it.
    """

    scored: asyncio.Event | None = None


Item = Bar | BotPresence | BotPrediction | TroubleChanged | HistoryFetched | events.Event


class Inbox:
    """The queue of one slot: any part may put, only the slot's runner gets."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[Item] = asyncio.Queue(INBOX + PREDICTIONS)
        self._predictions = 0

    async def put(self, item: Item) -> None:
        """Add an item; wait while the inbox is full."""
        await self._items.put(item)

    def put_nowait(self, item: Item) -> bool:
        """Add an item; return False if there is no room for it now."""
        is_prediction = isinstance(item, BotPrediction)
        if self._items.full() or (is_prediction and self._predictions >= PREDICTIONS):
            return False
        self._predictions += is_prediction
        self._items.put_nowait(item)
        return True

    def empty(self) -> bool:
        """Return whether the inbox holds nothing."""
        return self._items.empty()

    async def get(self) -> Item:
        """Remove and return the oldest item; wait if there is none."""
        item = await self._items.get()
        self._predictions -= isinstance(item, BotPrediction)
        return item
