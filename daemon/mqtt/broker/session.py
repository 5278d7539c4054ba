"""One client's session: its subscriptions, what waits for it and what it has not acknowledged."""

import asyncio
from collections import deque
from dataclasses import replace
from typing import Final

from paho.mqtt.matcher import MQTTMatcher

from daemon.mqtt.broker.access import ANYONE, DAEMON, Rights, is_filter, matches
from daemon.mqtt.broker.limits import BrokerLimits
from daemon.mqtt.broker.packets import NO_SUBSCRIPTION, Publication, publish

# Messages that a client may have without acknowledging them.
_WINDOW: Final = 100


class Session:
    """The session of a client; it outlives its connection if the client wants that.

    Attributes:
        rights: What the client may do.
        clean: Whether it ends with its connection.
        received: Packet ids of QoS 2 that the client has not released.
    """

    def __init__(self, rights: Rights, limits: BrokerLimits, *, clean: bool) -> None:
        self.rights, self.clean, self._limits = rights, clean, limits
        self.received: set[int] = set()
        # The QoS of each filter twice: by filter, and by topic, because a daemon has thousands.
        self._filters, self._qos_of = dict[str, int](), MQTTMatcher()
        self._queue: deque[tuple[Publication, bool]] = deque()
        self._queued_bytes = 0
        self._unacknowledged: dict[int, Publication] = {}
        self._last_id = 0
        self._work = asyncio.Event()

    @property
    def most(self) -> int:
        """How many filters, and unreleased packet ids, the client may have."""
        return self._limits.subscriptions[self.rights.user in {DAEMON, ANYONE}]

    def subscribe(self, topic_filter: str, qos: int) -> int:
        """Add a filter; return the QoS that is granted, or that it is refused."""
        is_full = len(self._filters) >= self.most
        if not is_filter(topic_filter) or (is_full and topic_filter not in self._filters):
            return NO_SUBSCRIPTION
        granted = min(qos, 1)
        self._filters[topic_filter] = self._qos_of[topic_filter] = granted
        return granted

    def unsubscribe(self, topic_filter: str) -> None:
        """Remove a filter, if there is one."""
        if self._filters.pop(topic_filter, None) is not None:
            del self._qos_of[topic_filter]

    def wants(self, topic: str, topic_filter: str | None = None) -> int | None:
        """Return the QoS in which the client wants a topic; None if it does not, or may not.

        Args:
            topic: The topic.
            topic_filter: Asks about this filter alone.
        """
        qos: int | None
        if topic_filter is None:
            qos = max(self._qos_of.iter_match(topic), default=None)
        else:
            fits = matches(tuple(topic_filter.split("/")), topic.split("/"))
            qos = self._filters[topic_filter] if fits else None
        return qos if qos is not None and self.rights.may_read(topic) else None

    def put(self, message: Publication, *, always: bool = False) -> bool:
        """Queue a message; False if too much waits already and it does not go `always`."""
        if not always and self._queued_bytes + message.size > self._limits.queued_bytes:
            return False
        self._queue.append((message, False))
        self._queued_bytes += message.size
        self._work.set()
        return True

    def acknowledged(self, packet_id: int) -> None:
        """Take the client's acknowledgement."""
        if self._unacknowledged.pop(packet_id, None) is not None:
            self._work.set()

    def lost(self) -> None:
        """Queue again, in front, what the client has not acknowledged."""
        for message in reversed(self._unacknowledged.values()):
            self._queue.appendleft((message, True))
            self._queued_bytes += message.size
        self._unacknowledged.clear()
        self._work.set()

    async def send(self, writer: asyncio.StreamWriter) -> None:
        """Send what is queued, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._queue and len(self._unacknowledged) < _WINDOW:
                message, again = self._queue.popleft()
                self._queued_bytes -= message.size
                packet_id = self._next_id() if message.qos else 0
                if packet_id:
                    self._unacknowledged[packet_id] = message
                writer.write(publish(message, packet_id, again=again and bool(packet_id)))
                await writer.drain()

    def _next_id(self) -> int:
        while True:
            self._last_id = self._last_id % 0xFFFF + 1
            if self._last_id not in self._unacknowledged:
                return self._last_id


def for_client(message: Publication, qos: int, *, retain: bool) -> Publication:
    """Return a message as a subscriber gets it."""
    return replace(message, qos=min(qos, message.qos), retain=retain)
