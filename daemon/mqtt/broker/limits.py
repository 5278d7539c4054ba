"""The limits of the embedded broker, and the tally of what broke them.

A client that may not log in can take no more than a place among those that wait, for a moment.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MIB: Final = 1 << 20
_LONGEST_TOLD: Final = 200


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What clients may take.

    Attributes:
        waiting: Connections that have not logged in; the oldest makes room for one more.
        login_s: Seconds in which a client must log in.
        login_bytes: The longest first packet.
        connections: Clients that are logged in.
        packet_bytes: The longest packet.
        subscriptions: Filters of one client of a user's, and of the daemon, which has some of
            each slot.
        queued_bytes: What waits for one client.
        kept_sessions: Sessions that are kept for clients that are away.
        retained: Retained topics of a user's, and of the daemon's.
        retained_bytes: Bytes of them.
    """

    waiting: int = 64
    login_s: float = 5.0
    login_bytes: int = 64 * 1024
    connections: int = 500
    packet_bytes: int = MIB
    subscriptions: tuple[int, int] = (1000, 20_000)
    queued_bytes: int = 4 * MIB
    kept_sessions: int = 50
    retained: tuple[int, int] = (1000, 20_000)
    retained_bytes: tuple[int, int] = (4 * MIB, 64 * MIB)


@dataclass(slots=True)
class RefusalTally:
    """Counts what was refused and tells each kind at once, then again after an hour at most.

    Attributes:
        tell: Takes the kind, the particulars and the count since the last time.
        now_s: Gives the time, s.
    """

    tell: Callable[[str, str, int], None]
    now_s: Callable[[], float]
    again_s: float = 3600.0
    _counts: Counter[str] = field(default_factory=Counter)
    _told: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, particulars: str = "") -> None:
        """Count one more of a kind."""
        self._counts[kind] += 1
        last = self._told.get(kind)
        if last is None or self.now_s() - last >= self.again_s:
            self._told[kind] = self.now_s()
            # A client may send a name of 64 KiB, and who listens reads lines of that length.
            self.tell(kind, particulars[:_LONGEST_TOLD], self._counts.pop(kind))
