"""Remember who signed in, in memory only, and how often somebody tried to.

A session ends after twelve hours, with the daemon, or when the token of the page is replaced.
"""

import hashlib
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from hyperdrift.clock import Clock

LIFE_S: Final = 12 * 3600
MOST_SESSIONS: Final = 64
_MOST_ADDRESSES: Final = 1000


@dataclass(slots=True)
class PageSession:
    """One browser that is signed in.

    Attributes:
        csrf: What every form of its pages sends.
        ends_s: When it ends, in seconds of the monotonic clock.
        notice: What became of its last order, shown once.
    """

    csrf: str
    ends_s: float
    notice: str = ""


class Sessions:
    """The browsers that are signed in; the oldest goes when there are too many.

    Args:
        clock: Ends sessions.
        most: How many there may be.
    """

    def __init__(self, clock: Clock, most: int = MOST_SESSIONS) -> None:
        self._clock, self._most = clock, most
        self._open: OrderedDict[bytes, PageSession] = OrderedDict()

    def begin(self) -> str:
        """Begin a session; return its id, which the browser keeps in a cookie."""
        key = secrets.token_urlsafe(32)
        ends_s = self._clock.monotonic() + LIFE_S
        self._open[_digest(key)] = PageSession(secrets.token_urlsafe(32), ends_s)
        while len(self._open) > self._most:
            self._open.popitem(last=False)[1].ends_s = 0.0
        return key

    def find(self, key: str) -> PageSession | None:
        """Return the session with this id; None if there is none any more."""
        digest = _digest(key)
        found = self._open.get(digest)
        if found is not None and found.ends_s <= self._clock.monotonic():
            del self._open[digest]
            return None
        return found

    def end(self, key: str) -> None:
        """End one session."""
        if found := self._open.pop(_digest(key), None):
            found.ends_s = 0.0  # whoever holds it sees that it is over

    def end_all(self) -> None:
        """End every session."""
        for each in self._open.values():
            each.ends_s = 0.0
        self._open.clear()


class Attempts:
    """Counts what may happen a few times in a while: for each address, and in all.

    Args:
        clock: Gives the time.
        each: How often from one address.
        in_all: How often from all addresses together.
        within_s: Within how many seconds.
    """

    def __init__(self, clock: Clock, each: int, in_all: int, within_s: float = 60.0) -> None:
        self._clock, self._within_s = clock, within_s
        self._each, self._all = each, deque[float](maxlen=in_all)
        self._of: OrderedDict[str, deque[float]] = OrderedDict()

    def has_room(self, address: str) -> bool:
        """Return whether one more from this address is allowed now."""
        of = self._of.get(address)
        return not self._is_full(self._all) and (of is None or not self._is_full(of))

    def count(self, address: str) -> None:
        """Count one from this address."""
        of = self._of.setdefault(address, deque(maxlen=self._each))
        self._of.move_to_end(address)
        if len(self._of) > _MOST_ADDRESSES:
            self._of.popitem(last=False)
        for each in (of, self._all):
            each.append(self._clock.monotonic())

    def _is_full(self, times: deque[float]) -> bool:
        return len(times) == times.maxlen and self._clock.monotonic() - times[0] < self._within_s


def _digest(key: str) -> bytes:
    # Looked up by its digest, so that the time of a search tells nothing of the id.
    return hashlib.sha256(key.encode(errors="replace")).digest()
