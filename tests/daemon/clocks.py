"""A real clock that runs faster, for tests with real sockets."""

import asyncio
import time
from dataclasses import dataclass


@dataclass
class FastClock:
    """Real time, `rate` times as fast."""

    rate: float

    def now_ms(self) -> int:
        return round(time.time() * 1000)

    def monotonic(self) -> float:
        return time.monotonic() * self.rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)
