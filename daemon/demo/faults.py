"""What goes wrong on the replay exchange, and when: a schedule that is asked, and does nothing.

Each fault is one that the venue was seen to have, or that a client must survive. Its time
counts from the start of the replay, on the venue's clock or on the wall, so a script does
the same on every run and at any speed. It also keeps count of what each fault did: one that
falls where nobody asks and nobody listens touched nothing, and no client can tell of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from hyperdrift.errors import BadInput

_Ms = Annotated[int, Meta(ge=0)]
_Lasting = Annotated[int, Meta(gt=0)]
_WallS = Annotated[float, Meta(ge=0)]
_LastingS = Annotated[float, Meta(gt=0)]
Place = Literal["stream", "rest", "both"]


class Moment(NamedTuple):
    """An instant on both clocks."""

    now_ms: int
    """The venue's time, ms UTC."""
    wall_s: float
    """Wall seconds since the exchange opened."""


class _Fault(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """When: from `at_ms` on for `for_ms` of the venue's time, or the same in wall seconds."""

    at_ms: _Ms | None = None
    for_ms: _Lasting | None = None
    at_wall_s: _WallS | None = None
    for_wall_s: _LastingS | None = None

    @property
    def of_wall(self) -> bool:
        """True if it keeps to the wall clock."""
        return self.at_wall_s is not None

    @property
    def span(self) -> tuple[float, float]:
        """Beginning and end, since the start of the replay, in ms of the venue or wall seconds."""
        begin = (self.at_wall_s if self.of_wall else self.at_ms) or 0.0
        return begin, begin + ((self.for_wall_s if self.of_wall else self.for_ms) or 0.0)


class _OfCoin(_Fault, frozen=True, kw_only=True):
    """A fault of one coin; without `coin` of all."""

    coin: str = ""


class Disconnect(_Fault, frozen=True, tag="disconnect"):
    """Sockets end without a close frame; new ones are refused for as long as it lasts."""


class Expired(_Fault, frozen=True, tag="expired"):
    """Sockets are closed in good order, 1000 `Expired`."""


class Stall(_Fault, frozen=True, tag="stall"):
    """Sockets stay open and nothing comes, not even a pong."""


class Withhold(_OfCoin, frozen=True, tag="withhold"):
    """The last state of a bar is never pushed; REST has it."""


class Late(_OfCoin, frozen=True, tag="late", kw_only=True):
    """Pushes come `delay_ms` late, also those of the last state of a bar."""

    delay_ms: _Lasting


class Reorder(_OfCoin, frozen=True, tag="reorder"):
    """Every push of candles changes places with the next."""


class Duplicate(_OfCoin, frozen=True, tag="duplicate"):
    """Every push comes twice."""


class NoTrades(_OfCoin, frozen=True, tag="no_trades"):
    """Nobody trades: no push, and REST ends at the last trade until there is another."""


class Malformed(_OfCoin, frozen=True, tag="malformed"):
    """Pushes and candle answers cannot be read: cut off, no JSON, or of another shape."""

    where: Place = "both"
    how: Literal["truncated", "text", "shape"] = "truncated"


class BadBar(_OfCoin, frozen=True, tag="bad_bar"):
    """Bars that open in the span have impossible numbers until it ends.

    `absurd` is a hundred times the price; `future` shows a bar more, a hundred bars ahead.
    """

    where: Place = "both"
    numbers: Literal["nan", "infinite", "negative", "zero", "crossed", "absurd", "future"] = "nan"


class Unlisted(_OfCoin, frozen=True, tag="unlisted"):
    """The coin is unknown: whoever subscribes to it loses the socket."""


class HttpError(_Fault, frozen=True, tag="http_error"):
    """REST answers with this status, and `null` for a body."""

    status: Literal[429, 500, 502, 503] = 500


class Slow(_Fault, frozen=True, tag="slow", kw_only=True):
    """REST answers come `delay_ms` of the venue's time late."""

    delay_ms: _Lasting


class StaleRest(_OfCoin, frozen=True, tag="stale_rest", kw_only=True):
    """REST knows only what happened up to `delay_ms` ago."""

    delay_ms: _Lasting


class DroppedKeepalive(_Fault, frozen=True, tag="dropped_keepalive"):
    """A connection that has answered once is dropped at the next request, without a word."""


class ClockJump(_Fault, frozen=True, tag="clock_jump", kw_only=True):
    """`exchangeStatus` is `jump_ms` ahead, or behind if negative."""

    jump_ms: int


Fault = (
    Disconnect | Expired | Stall | Withhold | Late | Reorder | Duplicate | NoTrades | Malformed
    | BadBar | Unlisted | HttpError | Slow | StaleRest | DroppedKeepalive | ClockJump
)  # fmt: skip

AT_ONCE = (Disconnect, Expired)
"""Kinds that happen at a moment; only the first may also last."""
BY_BAR = (NoTrades, BadBar)
"""Kinds that belong to bars, which only the venue's clock can name."""

_F = TypeVar("_F", bound=_Fault)


@dataclass(slots=True)
class Touched:
    """What a fault did to clients.

    Attributes:
        times: How many frames, answers and sockets were not as they would have been without
            it; of `no_trades` how many bars, whoever asks for them.
        first: When the first of them was; None for bars, and if there were none.
        last: When the last of them was.
    """

    times: int = 0
    first: Moment | None = None
    last: Moment | None = None


class FaultSchedule:
    """Knows which faults are on at any moment of a replay that begins at `begin_ms`."""

    def __init__(self, faults: Sequence[Fault] = (), begin_ms: int = 0) -> None:
        self._begin_ms = begin_ms
        self._of: dict[type[_Fault], list[_Fault]] = {}
        self._touched: dict[int, tuple[Fault, Touched]] = {}  # by identity: twins are two
        self.add(faults)

    def add(self, faults: Sequence[Fault], after: Moment | None = None) -> None:
        """Plan more of them; times count from the start of the replay as ever.

        Raises:
            BadInput: If one would have begun before `after`; then none is added.
        """
        for fault in faults:
            if after is not None and fault.span[0] < self._elapsed(fault, after):
                msg = f"a fault would have begun {fault.span[0]:g} after the start, which is past"
                raise BadInput(msg)
        for fault in faults:
            self._of.setdefault(type(fault), []).append(fault)
            self._touched[id(fault)] = fault, Touched()

    def touch(self, fault: _Fault, at: Moment, times: int = 1) -> None:
        """Count what a fault of this schedule changed at a moment."""
        if times:
            _, touched = self._touched[id(fault)]
            touched.times += times
            touched.first, touched.last = touched.first or at, at

    def touched(self) -> list[tuple[Fault, Touched]]:
        """Return each fault with what it did so far, in the order of the script."""
        return list(self._touched.values())

    def __bool__(self) -> bool:
        return bool(self._of)

    def active(self, kind: type[_F], at: Moment, coin: str | None = None) -> _F | None:
        """Return the fault of a kind that is on at a moment, and meant for `coin` if given."""
        for fault in self._of.get(kind, ()):
            begin, end = fault.span
            if begin <= self._elapsed(fault, at) < end and _means(fault, coin):
                assert isinstance(fault, kind)
                return fault
        return None

    def begins(self, kind: type[_F], before: Moment, at: Moment) -> _F | None:
        """Return a fault of a kind that begins after one moment and not after another."""
        for fault in self._of.get(kind, ()):
            if self._elapsed(fault, before) < fault.span[0] <= self._elapsed(fault, at):
                assert isinstance(fault, kind)
                return fault
        return None

    def over(self, at: Moment) -> bool:
        """Say whether nothing is on any more and nothing is to come."""
        return all(
            self._elapsed(fault, at) > fault.span[1]
            for faults in self._of.values()
            for fault in faults
        )

    def covers(self, fault: _Fault, t: int) -> bool:
        """Say whether a bar opens within a fault on the venue's clock."""
        begin, end = fault.span
        return begin <= t - self._begin_ms < end

    def quiet(self, coin: str) -> list[tuple[NoTrades, int, int]]:
        """Return when nobody trades a coin: each fault, and its span in ms UTC, end exclusive."""
        faults = [f for f in self._of.get(NoTrades, ()) if isinstance(f, NoTrades)]
        return [
            (fault, self._begin_ms + int(fault.span[0]), self._begin_ms + int(fault.span[1]))
            for fault in faults
            if _means(fault, coin)
        ]

    def _elapsed(self, fault: _Fault, at: Moment) -> float:
        return at.wall_s if fault.of_wall else at.now_ms - self._begin_ms


def _means(fault: _Fault, coin: str | None) -> bool:
    named = fault.coin if isinstance(fault, _OfCoin) else ""
    return coin is None or named in {"", coin}
