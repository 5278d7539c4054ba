"""Hand-written stand-ins for the borders of the system, with behaviour and a record."""

import asyncio
from dataclasses import dataclass, field


@dataclass
class FakeClock:
    """A clock that moves when somebody sleeps; its wall clock may be set `ahead_ms`."""

    ms: int = 1_750_000_000_000
    slept: list[float] = field(default_factory=list)
    ahead_ms: int = 0

    def now_ms(self) -> int:
        return self.ms + self.ahead_ms

    def monotonic(self) -> float:
        return self.ms / 1000

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ms += max(1, round(seconds * 1000))
        await asyncio.sleep(0)  # still let the other tasks run
