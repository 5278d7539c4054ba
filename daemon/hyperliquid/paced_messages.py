"""Send messages over the socket no faster than the venue takes them."""

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

from daemon.core.clock import VenueClock
from daemon.hyperliquid.rate_limit import Priority, WeightBudget
from hyperdrift.clock import Clock

# The venue takes 2000 messages a minute from one address; other programs may send some.
_A_MINUTE: Final = 1800
_BURST, _PAUSE_S = 20, 0.1

M = TypeVar("M")


class PacedMessages:
    """One limit for all connections, so that reconnects count too.

    Args:
        clock: Real time: the venue counts wall minutes, also in a fast replay.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._budget = WeightBudget(clock, VenueClock(clock), _A_MINUTE)

    async def each(self, messages: Sequence[M]) -> AsyncIterator[M]:
        """Yield each message as soon as it may be sent."""
        for number, message in enumerate(messages, start=1):
            await self._budget.take(1, Priority.LIVE)
            yield message
            if number % _BURST == 0:
                await self._clock.sleep(_PAUSE_S)
