"""Read real time, here alone: all other code takes a `Clock`, so that no test has to wait."""

import asyncio
import time
from typing import Protocol


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
