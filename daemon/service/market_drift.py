"""Tell a drift of many slots once, with its slots.

Coins move together: when the market changes, the features of every slot drift in the same hour.
Each slot tells its own drift at once, in its journal and on its topic. People are told of the
market as a whole, in one message.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import structlog

from daemon.runtime.announcements import Announcement, Announcements, announced
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import HOUR_MS, MINUTE_MS, SlotName

log = structlog.get_logger()

FEWEST: Final = 5
"""So many slots must drift within an hour."""
WINDOW_MS: Final = HOUR_MS
QUIET_MS: Final = 10 * MINUTE_MS
"""It is told once no other slot has drifted for so long."""
LONGEST_MS: Final = 30 * MINUTE_MS
"""It is told so long after it was enough, even if more slots drift meanwhile."""
_LOOK_S: Final = 1.0
_SHOWN: Final = 30
_FEATURES: Final = 3


@dataclass(frozen=True, slots=True)
class MarketChange:
    """A change of the market: the slots that drifted, by time; feature -> in how many of them."""

    slots: tuple[str, ...]
    features: dict[str, int]
    since_ms: int
    until_ms: int

    def message(self, at_ms: int) -> dict[str, Any]:
        """Return what is told of it, at `at_ms`, ms UTC."""
        minutes = max(1, round((self.until_ms - self.since_ms) / MINUTE_MS))
        named = ", ".join(self.slots[:_SHOWN])
        more = f" and {len(self.slots) - _SHOWN} more" if len(self.slots) > _SHOWN else ""
        most = ", ".join(f"{name} ({n})" for name, n in list(self.features.items())[:_FEATURES])
        text = (
            f"the market changed: {len(self.slots)} slots drifted within {minutes} min, most in "
            f"{most}: {named}{more}; where a retrain would help, it takes its turn"
        )
        found = {"slots": list(self.slots), "features": self.features, "since_ms": self.since_ms}
        return {"kind": "market_drift", "at_ms": at_ms, "text": text, **found}


class DriftGathering:
    """Gathers the drift alarms of slots until they are worth one message.

    After that message the slots that follow belong to the same change, until an hour passes without
    one. It is told again only when they are twice as many.
    """

    def __init__(self) -> None:
        self._since: dict[str, int] = {}  # slot -> its first alarm, ms UTC
        self._features: dict[str, set[str]] = {}  # slot -> what drifted
        self._told = self._newest_ms = self._enough_ms = 0

    def note(self, slot: str, at_ms: int, feature: str) -> None:
        """Note that a feature of a slot drifted at `at_ms`, ms UTC."""
        if at_ms - self._newest_ms > WINDOW_MS:
            self._forget(self._since)
            self._told = 0
        if not self._told:
            self._forget([one for one, ms in self._since.items() if at_ms - ms > WINDOW_MS])
        self._newest_ms = max(self._newest_ms, at_ms)
        if slot not in self._since:
            self._since[slot] = at_ms
            if len(self._since) == self._wanted:
                self._enough_ms = at_ms
        self._features.setdefault(slot, set()).add(feature)

    def due(self, now_ms: int) -> MarketChange | None:
        """Return the change to tell of now, ms UTC; None if there is none."""
        if len(self._since) < self._wanted:
            return None
        if now_ms - self._newest_ms < QUIET_MS and now_ms - self._enough_ms < LONGEST_MS:
            return None
        self._told = len(self._since)
        slots = sorted(self._since, key=lambda one: self._since[one])
        features = Counter(sorted(name for slot in slots for name in self._features[slot]))
        between = (self._since[slots[0]], self._since[slots[-1]])
        return MarketChange(tuple(slots), dict(features.most_common()), *between)

    @property
    def _wanted(self) -> int:
        return max(FEWEST, 2 * self._told)

    def _forget(self, slots: Collection[str]) -> None:
        for slot in tuple(slots):
            del self._since[slot], self._features[slot]


class MarketDrift:
    """Listens to the drift of all slots, and tells of a change of the market.

    The message stands on the event topic of the slot that drifted first, and in the journal of the
    whole daemon.

    Args:
        announcements: Everything that is told; listened to from now on.
        bus: The connection to the broker.
        topics: Gives the names of the topics.
        now_ms: Returns the time of the venue, ms UTC.
    """

    def __init__(
        self,
        announcements: Announcements,
        bus: MqttConnection,
        topics: Topics,
        now_ms: Callable[[], int],
    ) -> None:
        self._announcements, self._bus, self._topics = announcements, bus, topics
        self._now_ms, self._gathering = now_ms, DriftGathering()
        announcements.listen(self._take)

    async def run(self, clock: Clock) -> None:
        """Tell of each change when it is due, until cancelled."""
        while True:
            await clock.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Tell of a change if one is due."""
        now_ms = self._now_ms()
        if (change := self._gathering.due(now_ms)) is None:
            return
        message = change.message(now_ms)
        log.info("market.drift", slots=len(change.slots), text=message["text"])
        self._bus.publish(self._topics.event(SlotName.parse(change.slots[0])), message)
        self._announcements.tell(announced("", message))

    def _take(self, told: Announcement) -> None:
        if told.kind == "drift" and told.slot:
            self._gathering.note(told.slot, told.at_ms, str(told.fields.get("name", "")))
