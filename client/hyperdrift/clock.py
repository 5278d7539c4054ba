"""Read real time, here alone: all other code takes a `Clock`, so that no test has to wait."""

import asyncio
import operator
import time
from typing import Any, Final, Protocol

from hyperdrift.errors import BadInput

_EARLIEST_MS: Final = 100_000_000_000
"""March 1973: a smaller time since 1970 is in seconds."""
_LATEST_MS: Final = 100_000_000_000_000
"""Year 5138: a larger one is in microseconds or nanoseconds, as pandas has it."""


class Clock(Protocol):
    """A source of time, which tests replace."""

    def now_ms(self) -> int:
        """Return the wall clock in ms UTC; it may jump, also backwards."""
        ...

    def monotonic(self) -> float:
        """Return seconds since a fixed point; they never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, and let other tasks run meanwhile."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the wall clock in ms UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds since a fixed point; they never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, and let other tasks run meanwhile."""
        await asyncio.sleep(seconds)


def as_ms(t: Any) -> int:
    """Return the time of a bar, ms UTC since 1970, as a plain integer.

    Args:
        t: An integer of Python or numpy, or a float without a fraction.

    Raises:
        BadInput: If it is no such number, or too small or too large to be in milliseconds.
    """
    try:
        whole = int(t) if isinstance(t, float) and t.is_integer() else operator.index(t)
    except TypeError:
        raise BadInput(f"t is {t!r}; give the bar's open time as an integer, ms UTC") from None
    if not _EARLIEST_MS <= whole < _LATEST_MS:
        raise BadInput(f"t is {whole}, which is not in milliseconds; give the bar's open in ms UTC")
    return whole
