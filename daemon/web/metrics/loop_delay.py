"""Measure how late the event loop wakes a task: whoever holds it holds every bar and answer."""

from typing import Final

from prometheus_client import Metric

from daemon.web.metrics.event_tally import histogram
from hyperdrift.clock import Clock

_EVERY_S: Final = 0.5


class LoopDelay:
    """Sleeps again and again, and notes how much longer it took.

    Args:
        clock: Real time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._delays = histogram("hyperdrift_event_loop_delay_seconds")

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due_s = self._clock.monotonic() + _EVERY_S
            await self._clock.sleep(_EVERY_S)
            self._delays.observe(max(0.0, self._clock.monotonic() - due_s))

    def collect(self) -> list[Metric]:
        """Return the delays so far."""
        return list(self._delays.collect())
