"""Keep the bars that the stream showed, and tell which of them are proved final.

A frame has the state of one bar and never says that it is the last state. A bar changes until
2.6 s after its close at most. If the same socket pushes anything after that time, the newest
frame of the bar was the last. If that socket showed no frame of a bar, nobody traded in it.
After a lost socket neither is proved.
"""

from dataclasses import dataclass, field
from typing import Literal

from daemon.core.bars import Bar

_KEPT = 3


@dataclass(slots=True)
class Coverage:
    """The venue time that the present socket covers.

    Attributes:
        socket: Number of the present connection; frames of another one prove nothing now.
        reconnects: How often a connection was lost.
    """

    socket: int = 0
    reconnects: int = 0
    _since_ms: int | None = None
    _heard_ms: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every subscription of the present socket is confirmed."""
        return self._since_ms is not None

    def connected(self, now_ms: int) -> None:
        """Note the venue time, ms UTC, at which every subscription is confirmed."""
        self._since_ms = now_ms

    def disconnected(self) -> None:
        """Note that the socket is lost."""
        self.socket += 1
        self.reconnects += self._since_ms is not None
        self._since_ms = None

    def heard(self, now_ms: int) -> None:
        """Note the venue time, ms UTC, at which a frame of any slot came."""
        self._heard_ms = now_ms

    def reaches(self, until_ms: float, from_ms: float | None = None) -> bool:
        """Tell whether the present socket showed all pushes of a time.

        Args:
            until_ms: End of that time, ms UTC.
            from_ms: Beginning of that time, ms UTC; None asks for the end alone.
        """
        if self._since_ms is None or self._heard_ms < until_ms:
            return False
        return from_ms is None or self._since_ms <= from_ms


@dataclass(slots=True)
class StreamCache:
    """The newest bars of one slot, as the stream showed them last."""

    _frames: dict[int, tuple[Bar, int]] = field(default_factory=dict)
    _forgotten_t: int = -1

    def oddity(self, bar: Bar, socket: int) -> Literal["duplicate", "out_of_order"] | None:
        """Compare a frame with the earlier ones of the same socket; return its anomaly."""
        held = self._frames.get(bar.t)
        if held == (bar, socket):
            return "duplicate"
        newest = max(self._frames, default=bar.t)
        is_older = bar.t < newest and self._frames[newest][1] == socket
        is_emptier = held is not None and held[1] == socket and bar.n < held[0].n
        return "out_of_order" if is_older or is_emptier else None

    def take(self, bar: Bar, socket: int) -> Bar | None:
        """Keep a frame; return a bar that is over by this and should be stored, else None."""
        newest = max(self._frames, default=None)
        held = self._frames.get(bar.t)
        if held is not None:
            # Frames of one bar may come in another order; n only grows.
            if bar.n >= held[0].n:
                self._frames[bar.t] = (bar, socket)
                return bar if newest is not None and bar.t < newest else None
            return None
        if newest is not None and bar.t < newest:
            return None
        self._frames[bar.t] = (bar, socket)
        if len(self._frames) > _KEPT:
            self._forgotten_t = min(self._frames)
            del self._frames[self._forgotten_t]
        return None if newest is None else self._frames[newest][0]

    def bar(self, t: int) -> Bar | None:
        """Return the bar that opened at `t` (ms UTC) as shown last; None if it was not shown."""
        return self._frames[t][0] if t in self._frames else None

    def final(self, t: int, close_ms: float, coverage: Coverage) -> Bar | None:
        """Return a bar if the stream alone proves that it shows the last state.

        Args:
            t: Open time of the bar, ms UTC.
            close_ms: When the bar is final, ms UTC.
            coverage: The time that the present socket covers.
        """
        bar, socket = self._frames.get(t, (None, -1))
        return bar if socket == coverage.socket and coverage.reaches(close_ms) else None

    def is_quiet(self, t: int, close_ms: float, coverage: Coverage) -> bool:
        """Tell whether the stream alone proves that nobody traded in a bar.

        Args:
            t: Open time of the bar, ms UTC.
            close_ms: When the bar is final, ms UTC.
            coverage: The time that the present socket covers.
        """
        is_known = t > self._forgotten_t and t not in self._frames
        return is_known and coverage.reaches(close_ms, t)
