"""Doubt prices far from the last close until the venue repeats them.

A price of a hundred times the last one is nearly always an error, and a model trained on it
is worthless. But it may be right: coins crash and are redenominated. So the price is accepted
if REST repeats it a minute later, or if stream and REST agree on it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from daemon.core.bars import Bar
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

FACTOR: Final = 5.0
"""Prices above this multiple of the last close, or below its inverse, are doubted."""

INSIST_MS: Final = 60_000
_ALIKE: Final = 1.5
_REMEMBERED: Final = 64


@dataclass(frozen=True, slots=True)
class PriceDoubted:
    """A bar's prices are far from the last close; `outcome` says what becomes of it."""

    bar: Bar
    close: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class PriceBelieved:
    """REST repeated a bar that was doubted."""

    bar: Bar


class PriceChecks:
    """Checks the prices of one slot's bars.

    Args:
        tell: Takes the notes to log.

    Attributes:
        refused: How often a bar was doubted; each state of a bar counts once.
    """

    def __init__(self, tell: Callable[[PriceDoubted | PriceBelieved], None]) -> None:
        self._tell = tell
        self._since: dict[int, tuple[Bar, int]] = {}
        self.refused = 0

    def first(
        self, rows: Sequence[Bar], close: float | None, now_ms: int, shown: Bar | None = None
    ) -> int | None:
        """Return the open time of the first bar that is doubted, ms UTC; None if none is.

        Args:
            rows: Bars as REST has them, ascending.
            close: The last close price before them; if it is None, the first is believed.
            now_ms: Venue time, ms UTC.
            shown: The stream's copy of one of the bars, which may confirm it.
        """
        for bar in rows:
            agreed = shown is not None and shown.t == bar.t and _alike(shown, bar)
            if not plausible(bar, close) and not agreed and not self._insisted(bar, close, now_ms):
                return bar.t
            close = bar.close
        return None

    def refuse_shown(self, bar: Bar, close: float | None) -> None:
        """Count and note a bar of the stream whose prices are doubted."""
        self.refused += 1
        self._tell(PriceDoubted(bar, close, "not taken from the stream; REST decides"))

    def _insisted(self, bar: Bar, close: float | None, now_ms: int) -> bool:
        before = self._since.get(bar.t)
        if before is None or not _alike(before[0], bar):
            if len(self._since) >= _REMEMBERED:
                self._since.clear()
            self._since[bar.t] = (bar, now_ms)
            self.refused += 1
            outcome = "asked again; taken if REST still says so in a minute"
            self._tell(PriceDoubted(bar, close, outcome))
            return False
        if now_ms - before[1] < INSIST_MS:
            return False
        self._tell(PriceBelieved(bar))
        return True


def log_price(slot: SlotName, note: PriceDoubted | PriceBelieved) -> None:
    """Log a note of the checks."""
    bar = note.bar
    match note:
        case PriceDoubted(_, close, outcome):
            low, high = f"{bar.low:g}", f"{bar.high:g}"
            why = f"prices of {low} to {high} after a close of {close or 0:g}: {outcome}"
            log.warning("feed.price_doubted", slot=str(slot), t=bar.t, why=why)
        case PriceBelieved():
            log.warning("feed.price_believed", slot=str(slot), t=bar.t, close=bar.close)


def plausible(bar: Bar, close: float | None) -> bool:
    """Tell whether a bar's prices are near enough to the last close."""
    return close is None or _within(bar, close, FACTOR)


def _alike(one: Bar, other: Bar) -> bool:
    """Tell whether two copies of a bar have about the same prices."""
    pairs = ((one.low, other.low), (one.high, other.high), (one.close, other.close))
    return all(a / _ALIKE <= b <= a * _ALIKE for a, b in pairs)


def _within(bar: Bar, price: float, factor: float) -> bool:
    return price / factor <= bar.low and bar.high <= price * factor
