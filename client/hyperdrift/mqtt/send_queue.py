"""Hold the messages that wait for the broker, and find the one that it does not take.

A broker that is asked for too much, a packet that is too large or a topic that the client may not
write, ends the connection and does not say why. The message would then be sent again on the next
connection, for ever, and all others would wait behind it. So after several connections that
ended soon, the messages go one by one, and the one that ends the connection again is put aside.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from hyperdrift.logs import EventLogger

# Without a broker a slot at 5m publishes about 700 messages in an hour.
LONGEST = 1000
# A connection that ends within this time of its begin may have been ended by a message, seconds.
SOON_S: Final = 5.0
# So many such connections in a row, and messages go one by one; as many more with one and the
# same message, and it is put aside.
_PATIENCE: Final = 3

log = EventLogger("hyperdrift.mqtt")


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A message that waits or is in flight, and is not retained."""

    topic: str
    body: bytes


Key = Outgoing | str
"""What identifies a message: an event itself, a retained value by its topic."""


class SendQueue:
    """The messages of one connection. It is used from the thread of the event loop.

    Of a retained topic the newest value is always kept, and no older one. If more than `LONGEST`
    other messages wait, the topic with most of them loses its oldest.
    """

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.events: deque[Outgoing] = deque()
        self.dropped = 0
        self.work, self.idle = asyncio.Event(), asyncio.Event()
        self.idle.set()
        self._stale: dict[str, None] = {}  # retained topics that the broker does not have yet
        self._under_way: dict[Key, None] = {}
        self._short = 0  # connections in a row that ended soon, with a message under way
        self._blamed: Counter[Key] = Counter()

    def put(self, topic: str, body: bytes, *, retain: bool) -> None:
        """Add a message."""
        if retain:
            self.retained[topic] = body
            self._stale[topic] = None
        else:
            self.events.append(Outgoing(topic, body))
            if len(self.events) > LONGEST:
                self._drop_oldest()
        self.wake()

    def wake(self) -> None:
        """Let those that wait for `work` look again."""
        self.idle.clear()
        self.work.set()

    def renew(self) -> None:
        """Send every retained value again: the broker may have lost it."""
        self._stale.update(dict.fromkeys(topic for topic, body in self.retained.items() if body))
        self.dropped = 0
        self.wake()

    def take(self) -> tuple[Key, str, bytes] | None:
        """Take the next message; it is under way until `sent` or `lost`.

        Returns:
            The key, the topic and the payload; None if there is nothing to send now.
        """
        if self._short >= _PATIENCE and self._under_way:
            return None  # one by one
        if self._stale:
            topic = next(iter(self._stale))
            del self._stale[topic]
            self._under_way[topic] = None
            return topic, topic, self.retained[topic]
        if self.events:
            event = self.events.popleft()
            self._under_way[event] = None
            return event, event.topic, event.body
        return None

    def sent(self, key: Key) -> None:
        """Note that the broker has acknowledged a message."""
        self._under_way.pop(key, None)
        self._blamed.pop(key, None)
        if self._short >= _PATIENCE:
            self.work.set()  # the next one may go
        self.settle()

    def settle(self) -> None:
        """Note whether all is acknowledged."""
        if not (self._under_way or self._stale or self.events):
            self.idle.set()

    def lost(self, after_s: float) -> None:
        """Note the end of a connection, and keep what was not acknowledged for the next.

        Args:
            after_s: How long it lasted, seconds.
        """
        under_way, self._under_way = list(self._under_way), {}
        alone = self._short >= _PATIENCE
        self._short = self._short + 1 if after_s < SOON_S and under_way else 0
        if alone and self._short and self._blame(under_way[0]):
            under_way = under_way[1:]
        self.events.extendleft(reversed([key for key in under_way if isinstance(key, Outgoing)]))
        # Also the empty ones, by which the broker forgets a topic: `renew` has only the others.
        self._stale.update(dict.fromkeys(key for key in under_way if isinstance(key, str)))

    def _blame(self, key: Key) -> bool:
        """Count against a message that was alone under way; return whether it is put aside."""
        self._blamed[key] += 1
        if self._blamed[key] < _PATIENCE:
            return False
        del self._blamed[key]
        if isinstance(key, str):
            self._stale.pop(key, None)  # a newer value of it, which waits
        self._short = 0
        topic = key.topic if isinstance(key, Outgoing) else key
        body = key.body if isinstance(key, Outgoing) else self.retained.pop(key)
        remedy = "see the broker's limit of a packet, and whether this user may write the topic"
        log.error("bus.message_refused", topic=topic, bytes=len(body), remedy=remedy)
        return True

    def _drop_oldest(self) -> None:
        ((chatty, _),) = Counter(event.topic for event in self.events).most_common(1)
        self.events.remove(next(event for event in self.events if event.topic == chatty))
        if not self.dropped:
            log.warning("bus.outbox_full", kept=LONGEST, dropping="oldest")
        self.dropped += 1
