"""Publish the daemon's status: whether it runs, the venue's connections, the counts of bars.

`hyperdrift status` shows counters that are at most ten seconds old. Bars that are lost, or will
be soon, are published as events at once.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from daemon.core.bars import Hole
from daemon.core.clock import VenueClock
from daemon.market_data.feed import Feed
from daemon.mqtt.messages import DaemonStatus, TradesState
from daemon.runtime.announcements import Announcements, announced
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

_EVERY_S: Final = 10.0
_LOOK_S: Final = 1.0


class StatusPublisher:
    """Publishes the daemon's status and the feed's alarms.

    Args:
        online: The first status.
        bus: The connection to the broker.
        topics: Gives the names of the topics.
        venue: Gives the time of alarms.
        announcements: Tells the listeners in this process what is published.

    Attributes:
        online: The first status.
        start: Returns how far the start is, in words; empty once it is over.
        trades: Returns what became of the bot's trades.
        trouble: Returns what is wrong and concerns all slots; empty if nothing. Each new one
            is an alert too.
        notify: Returns which services take no messages to people; it alerts as `trouble` does.
        disk: Returns why nothing can be stored; empty if it can. Its alert comes from the store.
        feed: What follows the venue; None before there is one.
        page: Returns why the status page cannot be reached; empty if it can. It is no alert.
    """

    def __init__(
        self,
        online: DaemonStatus,
        bus: MqttConnection,
        topics: Topics,
        venue: VenueClock,
        announcements: Announcements | None = None,
    ) -> None:
        self.online, self._bus, self._topics, self._venue = online, bus, topics, venue
        self._announcements = announcements or Announcements()
        self.start: Callable[[], str] = str
        self.trades: Callable[[], dict[str, TradesState]] = dict
        self.trouble: Callable[[], str] = str
        self.notify: Callable[[], str] = str
        self.disk: Callable[[], str] = str
        self.page: Callable[[], str] = str
        self._told: dict[str, str] = {}
        self.feed: Feed | None = None

    async def run(self, feed: Feed, clock: Clock) -> None:
        """Publish the status every ten seconds and when the stream changes, until cancelled."""
        while True:
            was = self.tell(feed)
            until_s = clock.monotonic() + _EVERY_S
            while clock.monotonic() < until_s and feed.venue_state().connected == was:
                await clock.sleep(_LOOK_S)

    async def run_start(self, clock: Clock) -> None:
        """Publish the status every ten seconds until there is a feed."""
        while self.feed is None:
            self.tell_start()
            await clock.sleep(_EVERY_S)

    def tell_start(self) -> None:
        """Publish how far the start is, before there is a feed."""
        self._publish()

    def tell(self, feed: Feed) -> bool:
        """Publish the status; return whether the feed's stream is connected."""
        self.feed = feed
        self._publish()
        return feed.venue_state().connected

    def status(self) -> DaemonStatus:
        """Return the status of this moment, as it is published."""
        feed = self.feed
        now: dict[str, Any] = {"doing": self.start(), "trouble": self._troubles()}
        if feed is not None:
            states = {str(slot): feed.state(slot) for slot in feed.slots}
            now |= {"venue": feed.venue_state(), "feed": states, "trades": self.trades()}
        return msgspec.structs.replace(self.online, **now)

    def _publish(self) -> None:
        for name, find in (("other_daemon", self.trouble), ("notify", self.notify)):
            found, was = find(), self._told.get(name, "")
            if found and found != was:
                self.alert(found, name)
            elif was and not found:
                self.calm(was, name)
            self._told[name] = found
        self._bus.publish(self._topics.status, self.status(), retain=True)

    def _troubles(self) -> str:
        return "; ".join(filter(None, (self.trouble(), self.notify(), self.disk(), self.page())))

    def alert(self, text: str, trouble: str = "") -> None:
        """Publish an alert that concerns all slots; `trouble` names one that ends some day."""
        named = {"trouble": trouble} if trouble else {}
        self._tell_all({"kind": "alert", "text": text, "severity": "critical", **named})

    def tell_slots(self, text: str) -> None:
        """Publish which slots came and went by themselves, and why."""
        self._tell_all({"kind": "slots_changed", "text": text, "severity": "info"})

    def calm(self, text: str, trouble: str) -> None:
        """Publish that a trouble of all slots is over; `text` is that of its alert."""
        self._tell_all({"kind": "trouble_over", "text": text, "trouble": trouble})

    def about(self, trouble: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
        """Return what begins a trouble of all slots, and what ends it; both take its text."""
        return (lambda text: self.alert(text, trouble)), (lambda text: self.calm(text, trouble))

    def _tell_all(self, fields: dict[str, Any]) -> None:
        message = {"at_ms": self._venue.now_ms(), **fields}
        for slot in map(SlotName.parse, self.online.slots):
            self._bus.publish(self._topics.event(slot), message)
        self._announcements.tell(announced("", message))

    def alarm(self, slot: SlotName, kind: str, hole: Hole, text: str) -> None:
        """Publish an alarm about bars: lost (`gap`), soon lost (`hole_closing`) or no funding."""
        message = {
            "kind": kind,
            "at_ms": self._venue.now_ms(),
            "text": text,
            "severity": "critical",
            **hole._asdict(),
        }
        self._bus.publish(self._topics.event(slot), message)
        self._announcements.tell(announced(str(slot), message))
