"""What a bar is, and how slots and intervals are written everywhere else."""

import enum
import math
from typing import NamedTuple, Self

import msgspec

from daemon.core.errors import BadInput

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

INTERVAL_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}
_ALIASES = {"24h": "1d"}


def interval_name(text: str) -> str:
    """Return the venue's name of an interval; `24h` is its `1d`.

    Raises:
        BadInput: If the venue has no such interval.
    """
    name = _ALIASES.get(text, text)
    if name not in INTERVAL_MS:
        msg = f"interval {text!r} is not one of {', '.join(INTERVAL_MS)} or 24h"
        raise BadInput(msg)
    return name


class SlotName(NamedTuple):
    """One coin at one interval with one live model, written `BTC-5m`."""

    coin: str
    interval: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `BTC-5m`.

        Raises:
            BadInput: If there is no coin, no such interval, or the coin would split a topic.
        """
        coin, dash, interval = text.rpartition("-")
        if not dash or not coin or set(coin) & set("/+#"):
            msg = f"slot {text!r} is not written COIN-INTERVAL, for example BTC-5m"
            raise BadInput(msg)
        return cls(coin, interval_name(interval))

    @property
    def interval_ms(self) -> int:
        """Length of one bar."""
        return INTERVAL_MS[self.interval]

    def __str__(self) -> str:
        return f"{self.coin}-{self.interval}"


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
