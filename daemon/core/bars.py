"""Define a bar, the provenance of its values, a hole and a settled funding rate."""

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from hyperdrift.slot_name import SlotName
from retrain.bar_limits import LARGEST_PRICE, LARGEST_RATE, LARGEST_VOLUME, SMALLEST_PRICE

REACH_BARS: Final = 5000
"""How many of the newest bars of a coin and interval the venue serves."""

LATEST_MS: Final = 10**13
"""Times are before this one, ms UTC, in the year 2286."""
MOST_TRADES: Final = 2**53
"""The most trades of a bar: the largest count that a float holds exactly."""


class Provenance(enum.StrEnum):
    """Where the values of a stored bar come from, least trusted first."""

    FILLED = "filled"
    STREAM = "stream"
    IMPORT = "import"
    REST = "rest"


BAR_RULES: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    (
        "a value is not a finite number",  # infinity minus itself, as any NaN, is not 0
        lambda b: sum(x - x for x in (b.open, b.high, b.low, b.close, b.volume)) != 0,
    ),
    (
        "a price is not positive",
        lambda b: (b.open <= 0) | (b.high <= 0) | (b.low <= 0) | (b.close <= 0),
    ),
    (
        f"a price is not between {SMALLEST_PRICE:g} and {LARGEST_PRICE:g}",
        # The rule below has low as the lowest and high as the highest of the four.
        lambda b: (b.low < SMALLEST_PRICE) | (b.high > LARGEST_PRICE),
    ),
    ("the volume is negative", lambda b: b.volume < 0),
    (f"the volume is above {LARGEST_VOLUME:g}", lambda b: b.volume > LARGEST_VOLUME),
    (
        "open or close lies outside low..high",
        lambda b: (b.low > b.open) | (b.low > b.close) | (b.open > b.high) | (b.close > b.high),
    ),
    ("its time is no time in ms", lambda b: (b.t < 0) | (b.t >= LATEST_MS)),
    ("its count of trades is impossible", lambda b: (b.n < 0) | (b.n > MOST_TRADES)),
)
"""What no bar may be: each reason, and whether a bar is so.

Only operators that take numbers and arrays alike: `b` may also be columns of bars, with the
same attributes (`daemon.store.bar_columns`), so that one bar and a million are judged by one rule.
"""


class Bar(msgspec.Struct, frozen=True):
    """One candle of one slot; `t` is its open time in ms UTC, volume in base units."""

    t: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    n: int = 0

    def fault(self) -> str | None:
        """Return why these numbers are impossible, None if they are possible.

        A bar without a fault can be stored, and its features can be computed.
        """
        return next((why for why, is_so in BAR_RULES if is_so(self)), None)


class Hole(NamedTuple):
    """Bars that the store lacks: the first and the last missing open time, ms UTC."""

    from_t: int
    to_t: int


Alarm = Callable[[SlotName, str, Hole, str], None]
"""Tells a person about bars that are lost or soon will be: slot, kind, bars, sentence."""


class Funding(NamedTuple):
    """One settled funding rate: `time` as stamped by the venue (ms UTC), `rate` per hour."""

    time: int
    rate: float

    def fault(self) -> str | None:
        """Return why these numbers are impossible, None if they are possible."""
        if not abs(self.rate) <= LARGEST_RATE:  # also when it is NaN
            return f"its rate is {self.rate:g} an hour, beyond {LARGEST_RATE:g}"
        return _time_fault(self.time)


def _time_fault(at_ms: int) -> str | None:
    return None if 0 <= at_ms < LATEST_MS else "its time is no time in ms"
