"""The one place that reads real time: everything else takes a `Clock`, so that no test waits."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Real time, as far as the rest of the code may see it."""

    def now_ms(self) -> int:
        """Return the wall clock in ms UTC; it may step."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Return the wall clock in ms UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds since some fixed point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, letting other tasks run."""
        await asyncio.sleep(seconds)
