"""Define a bar, the provenance of its values, a hole and a settled funding rate."""

import enum
import math
from collections.abc import Callable
from typing import Final, NamedTuple

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
        values = (self.open, self.high, self.low, self.close, self.volume)
        if not all(map(math.isfinite, values)):
            return "a value is not a finite number"
        if min(self.open, self.high, self.low, self.close) <= 0:
            return "a price is not positive"
        if self.volume < 0:
            return "the volume is negative"
        if not self.low <= min(self.open, self.close) <= max(self.open, self.close) <= self.high:
            return "open or close lies outside low..high"
        return None


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
