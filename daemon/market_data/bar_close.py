"""Tell when a bar is closed, when it is final, and when a missing bar had no trades.

A bar is closed when its interval is over by the venue's clock. It is final some seconds
later: then the venue has added its last trades, and its values do not change any more.
"""

from dataclasses import dataclass
from typing import Final, Self

from daemon.core.bars import Bar, Hole
from daemon.core.clock import VenueClock
from hyperdrift.slot_name import SlotName

QUIET_AFTER_MS: Final = 30_000
"""So long after its close, ms, a bar that REST lacks had no trades: REST lags by seconds."""

LONGEST_FILL_BARS: Final = 12
"""A longer hole between two bars, in bars, is a gap and not a time without trades."""

# The venue adds a bar's last trades up to 2.6 s after its close.
_LEAST_GRACE_MS: Final = 3_000


def grace_ms(uncertainty_ms: float) -> float:
    """Return how long after its close a bar is certainly final, ms of venue time.

    Args:
        uncertainty_ms: How far the venue's clock may be off, ms.
    """
    return max(_LEAST_GRACE_MS, 2 * uncertainty_ms)


def newest_final_t(step_ms: int, at_ms: float, uncertainty_ms: float) -> int:
    """Return the open time of the newest bar that is final at a time, ms UTC.

    Args:
        step_ms: Length of one bar, ms.
        at_ms: Venue time, ms UTC.
        uncertainty_ms: How far that time may be off, ms.
    """
    return int((at_ms - grace_ms(uncertainty_ms)) // step_ms - 1) * step_ms


def closed_t(slot: SlotName, venue: VenueClock) -> int:
    """Return the open time of a slot's newest bar that is final now, ms UTC."""
    return newest_final_t(slot.interval_ms, venue.now_ms(), venue.uncertainty_ms)


def flat_bars(hole: Hole, close: float, step_ms: int) -> list[Bar]:
    """Make the filled bars of a hole, with a close price for all of their prices.

    Args:
        hole: Open times of the first and the last bar, ms UTC.
        close: Price of the last trade before the hole, quote units.
        step_ms: Length of one bar, ms.
    """
    times = range(hole.from_t, hole.to_t + step_ms, step_ms)
    return [Bar(t, close, close, close, close, 0.0) for t in times]


@dataclass(frozen=True, slots=True)
class VenueMoment:
    """The venue's time at one moment, and how certain it is.

    Attributes:
        now_ms: Venue time, ms UTC.
        asked_ms: Venue time when REST was asked last, ms UTC.
        uncertainty_ms: How far both may be off, ms.
        age_s: Venue seconds since an answer of the venue set the clock.
        is_trusted: Whether that answer agreed with the answers before it.
    """

    now_ms: int
    asked_ms: int
    uncertainty_ms: float = 0.0
    age_s: float = 0.0
    is_trusted: bool = True

    @classmethod
    def read(cls, venue: VenueClock, asked_at: float) -> Self:
        """Read the venue's clock; REST was asked last at `asked_at`, monotonic s."""
        return cls(
            venue.now_ms(),
            venue.at_ms(asked_at),
            venue.uncertainty_ms,
            venue.age_s(),
            venue.is_trusted,
        )

    def closed_t(self, step_ms: int) -> int:
        """Return the open time of the newest bar of length `step_ms` that is final now, ms UTC."""
        return newest_final_t(step_ms, self.now_ms, self.uncertainty_ms)

    def closed_when_asked_t(self, step_ms: int) -> int:
        """Return the open time of the newest bar that was final when REST was asked, ms UTC.

        Args:
            step_ms: Length of one bar, ms.
        """
        return newest_final_t(step_ms, self.asked_ms, self.uncertainty_ms)
