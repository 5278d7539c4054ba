"""What a bar is and where its values come from; a settled funding rate."""

import enum
import math
from typing import NamedTuple

import msgspec


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
        """Say what makes these numbers impossible, or None if nothing does."""
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


class Funding(NamedTuple):
    """One settled funding rate: `time` as stamped by the venue (ms UTC), `rate` per hour."""

    time: int
    rate: float
