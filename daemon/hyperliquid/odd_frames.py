"""Tell when a kind of faulty frame begins: there may be one with every frame."""

import math
from typing import Final

from hyperdrift.clock import Clock

CALM_S: Final = 600.0
"""After so many wall seconds without a kind of faulty frame, the next one is logged."""
_REMEMBERED: Final = 1024


class OddFrames:
    """Remembers which kinds came, and when.

    Args:
        clock: Real time.
        calm_s: A kind begins again after so many seconds without it.
    """

    def __init__(self, clock: Clock, calm_s: float) -> None:
        self._clock, self._calm_s = clock, calm_s
        self._came_s: dict[str, float] = {}

    def begins(self, kind: str) -> bool:
        """Note a frame of a kind; return whether none came a short time ago."""
        now = self._clock.monotonic()
        is_new = now - self._came_s.get(kind, -math.inf) >= self._calm_s
        if is_new and len(self._came_s) >= _REMEMBERED:
            self._came_s.clear()
        self._came_s[kind] = now
        return is_new
