"""What the daemon says of itself: that it is there, how the venue is, what became of bars.

A person who asks `hyperdrift status` sees the budget and the counters as they were at
most ten seconds ago; lost bars, and bars that soon will be lost, are events at once.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from daemon.core.bars import Hole
from daemon.core.clock import VenueClock
from daemon.market_data.feed import Feed
from daemon.mqtt.messages import DaemonStatus
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

_EVERY_S: Final = 10.0
_LOOK_S: Final = 1.0


class StatusPublisher:
    """Publishes the daemon's status and the feed's alarms.

    Args:
        online: What is published from the first moment on.
        bus: Where to.
        topics: How it is addressed.
        venue: Alarms carry its time.
        start: Says how far the start is; empty once it is over.
    """

    def __init__(
        self,
        online: DaemonStatus,
        bus: MqttConnection,
        topics: Topics,
        venue: VenueClock,
        start: Callable[[], str] = lambda: "",
    ) -> None:
        self._online, self._bus, self._topics, self._venue = online, bus, topics, venue
        self._start = start

    async def run(self, feed: Feed, clock: Clock) -> None:
        """Tell how the feed is every ten seconds, and when its stream comes or goes, for ever."""
        while True:
            was = self.tell(feed)
            until_s = clock.monotonic() + _EVERY_S
            while clock.monotonic() < until_s and feed.venue_state().connected == was:
                await clock.sleep(_LOOK_S)

    def tell(self, feed: Feed) -> bool:
        """Tell how the feed is; return whether its stream is there."""
        slots, venue = {str(slot): feed.state(slot) for slot in feed.slots}, feed.venue_state()
        status = msgspec.structs.replace(self._online, doing=self._start(), venue=venue, feed=slots)
        self._bus.publish(self._topics.status, status, retain=True)
        return venue.connected

    def alert(self, text: str) -> None:
        """Tell everybody of what concerns all slots."""
        fields = {"at_ms": self._venue.now_ms(), "text": text, "severity": "critical"}
        for slot in map(SlotName.parse, self._online.slots):
            self._bus.publish(self._topics.event(slot), {"kind": "alert", **fields})

    def alarm(self, slot: SlotName, kind: str, hole: Hole, text: str) -> None:
        """Tell everybody of bars: lost (`gap`), soon lost (`hole_closing`), lacking funding."""
        message = {
            "kind": kind,
            "at_ms": self._venue.now_ms(),
            "text": text,
            "severity": "critical",
            **hole._asdict(),
        }
        self._bus.publish(self._topics.event(slot), message)
