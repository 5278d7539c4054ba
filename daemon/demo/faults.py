"""The faults of the replay exchange, and a schedule that says which are on at a time.

Each fault was seen at the venue, or is one that a client must survive. Its time counts from
the start of the replay, on the venue's clock or the wall clock. So a script has the same
effect in every run and at any speed. The schedule also counts what each fault changed: a
fault without a client to see it changes nothing.
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
    """The time of a fault: from `at_ms` on for `for_ms` of venue time, or in wall seconds."""

    at_ms: _Ms | None = None
    for_ms: _Lasting | None = None
    at_wall_s: _WallS | None = None
    for_wall_s: _LastingS | None = None

    @property
    def of_wall(self) -> bool:
        """True if its time is on the wall clock."""
        return self.at_wall_s is not None

    @property
    def span(self) -> tuple[float, float]:
        """Beginning and end since the start of the replay, in venue ms or in wall seconds."""
        begin = (self.at_wall_s if self.of_wall else self.at_ms) or 0.0
        return begin, begin + ((self.for_wall_s if self.of_wall else self.for_ms) or 0.0)


class _OfCoin(_Fault, frozen=True, kw_only=True):
    """A fault of one coin, or of all coins if `coin` is empty."""

    coin: str = ""


class Disconnect(_Fault, frozen=True, tag="disconnect"):
    """Sockets end without a close frame; while it lasts, new sockets are refused."""


class Expired(_Fault, frozen=True, tag="expired"):
    """Sockets are closed with a close frame, 1000 `Expired`."""


class Stall(_Fault, frozen=True, tag="stall"):
    """Sockets stay open, but nothing is sent, not even a pong."""


class Withhold(_OfCoin, frozen=True, tag="withhold"):
    """The last state of a bar is never pushed; REST has it."""


class Late(_OfCoin, frozen=True, tag="late", kw_only=True):
    """Pushes come `delay_ms` of venue time late, also the last state of a bar."""

    delay_ms: _Lasting


class Reorder(_OfCoin, frozen=True, tag="reorder"):
    """Pushes of candles come in pairs in the wrong order."""


class Duplicate(_OfCoin, frozen=True, tag="duplicate"):
    """Every push comes twice."""


class NoTrades(_OfCoin, frozen=True, tag="no_trades"):
    """Nobody trades: nothing is pushed, and REST has no bars after the last trade."""


class Malformed(_OfCoin, frozen=True, tag="malformed"):
    """Pushes and answers cannot be read: they are cut off, no JSON, or of another shape.

    Their texts are no UTF-8 (`bytes`) or half characters (`surrogates`), or their data is
    nested ten thousand `deep`. `answers` says which answers of REST are meant.
    """

    where: Place = "both"
    how: Literal["truncated", "text", "shape", "bytes", "surrogates", "deep"] = "truncated"
    answers: Literal["candles", "all"] = "candles"


class BadBar(_OfCoin, frozen=True, tag="bad_bar"):
    """Bars that open while the fault lasts have impossible numbers until it ends.

    `absurd` prices are a hundred times too high, `vast` prices and volumes are 1e300, and
    `huge` counts of trades have more than 64 bit. `future` adds a bar that opens a hundred
    bars later.
    """

    where: Place = "both"
    numbers: Literal[
        "nan", "infinite", "negative", "zero", "crossed", "absurd", "vast", "huge", "future"
    ] = "nan"


class Unlisted(_OfCoin, frozen=True, tag="unlisted"):
    """The coin is unknown: the socket of a client that subscribes to it is closed."""


class Refused(_OfCoin, frozen=True, tag="refused"):
    """Subscriptions are refused by an error frame. When it begins, sockets that have one end."""


class ShortMeta(_OfCoin, frozen=True, tag="short_meta"):
    """The list of coins lacks the coin, or has no coins at all, or is null instead of a list."""

    how: Literal["short", "empty", "null"] = "short"


class CoinFails(_OfCoin, frozen=True, tag="coin_fails"):
    """REST answers 500 and `null` about the coin, as it also does about an unknown one."""

    of: Literal["candles", "funding", "both"] = "both"


class Delisted(_OfCoin, frozen=True, tag="delisted"):
    """The coin is listed as delisted: nothing is pushed, and REST has no later trades."""


class HttpError(_Fault, frozen=True, tag="http_error"):
    """REST answers with this status and body: `null`, a page of HTML, or plain text."""

    status: Annotated[int, Meta(ge=200, le=599)] = 500
    body: Literal["null", "html", "text"] = "null"


class Slow(_Fault, frozen=True, tag="slow", kw_only=True):
    """REST answers come `delay_ms` of venue time late."""

    delay_ms: _Lasting


class StaleRest(_OfCoin, frozen=True, tag="stale_rest", kw_only=True):
    """REST lacks the trades of the last `delay_ms` of venue time."""

    delay_ms: _Lasting


class DroppedKeepalive(_Fault, frozen=True, tag="dropped_keepalive"):
    """A connection that was used once is dropped at the next request, without an answer."""


class ClockJump(_Fault, frozen=True, tag="clock_jump", kw_only=True):
    """The time in `exchangeStatus` is `jump_ms` ahead, or behind if negative."""

    jump_ms: int


Fault = (
    Disconnect | Expired | Stall | Withhold | Late | Reorder | Duplicate | NoTrades | Malformed
    | BadBar | Unlisted | Refused | ShortMeta | CoinFails | Delisted
    | HttpError | Slow | StaleRest | DroppedKeepalive | ClockJump
)  # fmt: skip

AT_ONCE = (Disconnect, Expired)
"""Kinds that happen at one moment; of them only `disconnect` may also last."""
BY_BAR = (NoTrades, BadBar, Delisted)
"""Kinds that change certain bars; their times must be on the venue's clock."""

_F = TypeVar("_F", bound=_Fault)


@dataclass(slots=True)
class Touched:
    """What a fault changed for clients.

    Attributes:
        times: Frames, answers and sockets that the fault changed. For `no_trades` it counts
            bars, also those that no client asked for.
        first: When it changed the first one; None for `no_trades` and if it changed none.
        last: When it changed the last one; None likewise.
    """

    times: int = 0
    first: Moment | None = None
    last: Moment | None = None


class FaultSchedule:
    """Tells which faults are on at a moment of a replay.

    Args:
        faults: The faults.
        begin_ms: The venue time at which the replay begins, ms UTC.
    """

    def __init__(self, faults: Sequence[Fault] = (), begin_ms: int = 0) -> None:
        self._begin_ms = begin_ms
        self._of: dict[type[_Fault], list[_Fault]] = {}
        self._touched: dict[int, tuple[Fault, Touched]] = {}  # by id: equal faults count apart
        self.add(faults)

    def add(self, faults: Sequence[Fault], after: Moment | None = None) -> None:
        """Add more faults; their times count from the start of the replay.

        Raises:
            BadInput: If one begins before `after`; then none is added.
        """
        for fault in faults:
            if after is not None and fault.span[0] < self._elapsed(fault, after):
                msg = f"a fault would have begun {fault.span[0]:g} after the start, which is past"
                raise BadInput(msg)
        for fault in faults:
            self._of.setdefault(type(fault), []).append(fault)
            self._touched[id(fault)] = fault, Touched()

    def touch(self, fault: _Fault, at: Moment, times: int = 1) -> None:
        """Count that a fault of this schedule changed something at a moment, `times` times."""
        if times:
            _, touched = self._touched[id(fault)]
            touched.times += times
            touched.first, touched.last = touched.first or at, at

    def touched(self) -> list[tuple[Fault, Touched]]:
        """Return each fault with what it changed so far, in the order of the script."""
        return list(self._touched.values())

    def __bool__(self) -> bool:
        return bool(self._of)

    def active(self, kind: type[_F], at: Moment, coin: str | None = None) -> _F | None:
        """Return a fault of a kind that is on at a moment, of `coin` if given; else None."""
        for fault in self._of.get(kind, ()):
            begin, end = fault.span
            if begin <= self._elapsed(fault, at) < end and _means(fault, coin):
                assert isinstance(fault, kind)
                return fault
        return None

    def begins(self, kind: type[_F], before: Moment, at: Moment) -> _F | None:
        """Return a fault of a kind that begins after `before` and not after `at`; else None."""
        for fault in self._of.get(kind, ()):
            if self._elapsed(fault, before) < fault.span[0] <= self._elapsed(fault, at):
                assert isinstance(fault, kind)
                return fault
        return None

    def over(self, at: Moment) -> bool:
        """Say whether all faults have ended."""
        return all(
            self._elapsed(fault, at) > fault.span[1]
            for faults in self._of.values()
            for fault in faults
        )

    def covers(self, fault: _Fault, t: int) -> bool:
        """Say whether the bar that opens at `t`, ms UTC, opens while a fault lasts."""
        begin, end = fault.span
        return begin <= t - self._begin_ms < end

    def begin_ms(self, fault: _Fault) -> int:
        """Return when a fault on the venue's clock begins, ms UTC."""
        return self._begin_ms + int(fault.span[0])

    def quiet(self, coin: str) -> list[tuple[NoTrades, int, int]]:
        """Return the `no_trades` faults of a coin, with beginning and end (exclusive), ms UTC."""
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
