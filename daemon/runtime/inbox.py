"""What happened to a slot, in order: everything that changes it goes through here."""

import asyncio
from dataclasses import dataclass
from typing import Final

from daemon.core.bars import Bar
from hyperdrift.mqtt.messages import BotPresence
from monitor import events

# Full means that scoring is behind: the feed waits. A closed bar is never dropped.
INBOX: Final = 4096
# Predictions have room of their own: a bot that publishes thousands keeps nothing else out.
PREDICTIONS: Final = 4096


@dataclass(frozen=True, slots=True)
class BotPrediction:
    """A bot predicted the bar that opened at `t`, heard at `at_ms`.

    `features` are the ones that it used, None in them where undefined; None if it does not say.
    """

    t: int
    features: tuple[float | None, ...] | None
    at_ms: int


Item = Bar | BotPresence | BotPrediction | events.Event


class Inbox:
    """The queue of one slot: anybody puts, its runner gets."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[Item] = asyncio.Queue(INBOX + PREDICTIONS)
        self._predictions = 0

    async def put(self, item: Item) -> None:
        """Hand over what happened; waits while the inbox is full."""
        await self._items.put(item)

    def put_nowait(self, item: Item) -> bool:
        """Hand over what happened; False if there is no room for it now."""
        is_prediction = isinstance(item, BotPrediction)
        if self._items.full() or (is_prediction and self._predictions >= PREDICTIONS):
            return False
        self._predictions += is_prediction
        self._items.put_nowait(item)
        return True

    def empty(self) -> bool:
        """Tell whether nothing waits."""
        return self._items.empty()

    async def get(self) -> Item:
        """Take the oldest; waits for one."""
        item = await self._items.get()
        self._predictions -= isinstance(item, BotPrediction)
        return item
