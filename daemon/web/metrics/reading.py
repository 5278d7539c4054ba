"""Read what a scrape is made of from the parts of the daemon, as the pages do."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from daemon.market_data.feed import Feed
from daemon.mqtt.messages import SlotState
from daemon.notify.delivery import DeliveryCounts
from daemon.store.retrying_store import RetryingStore
from daemon.web.metrics.families import DaemonReading
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.slot_name import SlotName


class HasState(Protocol):
    """What a runner of a slot offers."""

    def state(self) -> SlotState:
        """Return the state of the slot, as it is published."""
        ...


@dataclass(kw_only=True)
class DaemonReader:
    """Reads the state of the daemon; call it on the event loop.

    Attributes:
        version: The version of hyperdrift.
        clock: Real time.
        runners: Slot -> its runner.
        store: Bars and journal.
        bus: The connection to the broker.
        start: Returns how far the start is, in words; empty once it is over.
        find_feed: Returns what follows the venue; None before there is one.
        notified: What became of messages to people.
    """

    version: str
    clock: Clock
    runners: Mapping[SlotName, HasState]
    store: RetryingStore
    bus: MqttConnection
    start: Callable[[], str]
    find_feed: Callable[[], Feed | None]
    notified: DeliveryCounts
    began_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Note when the daemon started."""
        self.began_s = self.clock.monotonic()

    def read(self) -> DaemonReading:
        """Return the state of this moment."""
        feed = self.find_feed()
        return DaemonReading(
            version=self.version,
            python=platform.python_version(),
            ready=not self.start(),
            uptime_s=self.clock.monotonic() - self.began_s,
            broker_connected=self.bus.connected,
            rows_written=self.store.inner.store.database.written,
            writable=not self.store.trouble,
            notified=self.notified,
            venue=feed.venue_state() if feed else None,
            slots={str(slot): runner.state() for slot, runner in self.runners.items()},
            feed={str(slot): feed.state(slot) for slot in feed.slots} if feed else {},
        )
