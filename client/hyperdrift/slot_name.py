"""Read and write the names of slots and intervals: `BTC-5m`."""

from typing import NamedTuple

from hyperdrift.errors import BadInput

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
    def parse(cls, text: str) -> "SlotName":
        """Read `BTC-5m`.

        Raises:
            BadInput: If the coin is missing, has a character that topics reserve, or the
                venue has no such interval.
        """
        coin, dash, interval = text.rpartition("-")
        if "/" in coin:
            base = coin.partition("/")[0]
            msg = f"slot {text!r}: {coin} is a spot market, and spot is not followed; write the"
            raise BadInput(f"{msg} name of a perp, for example {base}")
        if not dash or not coin or set(coin) & set("/+#"):
            msg = f"slot {text!r} is not written COIN-INTERVAL, for example BTC-5m"
            raise BadInput(msg)
        return cls(coin, interval_name(interval))

    @property
    def interval_ms(self) -> int:
        """Length of one bar, ms."""
        return INTERVAL_MS[self.interval]

    def __str__(self) -> str:
        return f"{self.coin}-{self.interval}"
