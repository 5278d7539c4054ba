"""Define a bar, the provenance of its values, a hole and a settled funding rate."""

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from hyperdrift.slot_name import SlotName

REACH_BARS: Final = 5000
"""How many of the newest bars of a coin and interval the venue serves."""


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
    ("the volume is negative", lambda b: b.volume < 0),
    (
        "open or close lies outside low..high",
        lambda b: (b.low > b.open) | (b.low > b.close) | (b.open > b.high) | (b.close > b.high),
    ),
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
        """Return why these numbers are impossible, None if they are possible."""
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
