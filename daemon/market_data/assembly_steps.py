"""The steps that the bar assembler yields, the answers that it takes, and its notes."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.core.bars import Bar, Hole, Provenance
from daemon.market_data.bar_close import VenueMoment
from daemon.market_data.price_checks import PriceBelieved, PriceDoubted
from daemon.store.bar_merge import Stored


@dataclass(frozen=True, slots=True)
class AskBars:
    """Ask REST for all bars from `from_t` (ms UTC) on; `is_behind` if closed bars wait for it."""

    from_t: int
    is_behind: bool


@dataclass(frozen=True, slots=True)
class LearnClock:
    """Set the venue's clock by an answer of the venue."""


@dataclass(frozen=True, slots=True)
class StoreConfirmed:
    """Store bars as REST has them; the bars in `seen` were handed on before."""

    seen: list[Bar]
    new: list[Bar]


@dataclass(frozen=True, slots=True)
class AwaitRates:
    """Wait a few seconds for the funding rates settled before `close_ms`, ms UTC."""

    close_ms: int
    is_behind: bool


@dataclass(frozen=True, slots=True)
class StoreShown:
    """Store a bar as the stream showed it; the assembler goes on also if that fails."""

    bar: Bar


@dataclass(frozen=True, slots=True)
class FindCopies:
    """Look up the stored copies of the bars of a hole."""

    hole: Hole


@dataclass(frozen=True, slots=True)
class StoreFlat:
    """Store filled bars for a time in which nobody traded."""

    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Store a hole as a gap, and raise the alarm."""

    hole: Hole


@dataclass(frozen=True, slots=True)
class HandOn:
    """Hand on a bar that is stored; `led` if REST was not asked about it yet."""

    bar: Bar
    provenance: Provenance
    led: bool = False


Step = (
    AskBars
    | LearnClock
    | StoreConfirmed
    | AwaitRates
    | StoreShown
    | FindCopies
    | StoreFlat
    | GiveUp
    | HandOn
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a step that is done.

    Attributes:
        at: The venue's time now.
        rows: For `AskBars`: bars, ascending, the forming one included.
        closed_t: For `AskBars`: open time of the newest bar that is certainly closed, ms UTC;
            None if only a later row or the clock tells that.
        copies: For `FindCopies`: stored bars, ascending.
    """

    at: VenueMoment
    rows: Sequence[Bar] = ()
    copies: Sequence[Stored] = ()
    closed_t: int | None = None


@dataclass(frozen=True, slots=True)
class FutureBar:
    """The venue showed a bar that cannot have begun yet; `source` is `rest` or `stream`."""

    bar: Bar
    source: str


Note = FutureBar | PriceDoubted | PriceBelieved
"""Something to log."""
