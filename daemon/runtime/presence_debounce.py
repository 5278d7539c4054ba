"""Bots that come and go without end: their news pass now and then, the newest always in the end.

Each one is an entry of the journal, a look at the live model's files and perhaps the start of
another interpreter, and whoever may publish on the broker can cause thousands a second.
"""

from collections.abc import Callable
from typing import Final

import structlog

from daemon.core.log_once import LogOnce
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

# Ten restarts in a row are told of at once; then there is one news in so many seconds.
AT_ONCE: Final = 20
EVERY_S: Final = 10.0


class PresenceDebounce:
    """Passes on news of bots, not too many; who holds the newest asks again until they pass.

    Args:
        clock: Real time, in which bots live; it never jumps, so nothing waits for long.
        tell: Takes the slot and a sentence when a bot begins to come and go without end.
    """

    def __init__(self, clock: Clock, tell: Callable[[SlotName, str], None]) -> None:
        self._clock, self._tell = clock, tell
        self._whole_at: dict[SlotName, float] = {}  # when all `AT_ONCE` may pass again
        self._floods = LogOnce()

    def pass_on(self, slot: SlotName, put: Callable[[], bool]) -> bool:
        """Call `put` if news of the slot's bot may pass now; say whether they did."""
        now = self._clock.monotonic()
        used_s = max(0.0, self._whole_at.get(slot, now) - now)
        if used_s > (AT_ONCE - 1) * EVERY_S:
            self._warn(slot)
            return False
        if used_s <= (AT_ONCE - 2) * EVERY_S:  # else it is the next one of the same flood
            self._floods.ends(slot)
        if not put():
            return False
        self._whole_at[slot] = now + used_s + EVERY_S
        return True

    def _warn(self, slot: SlotName) -> None:
        if not self._floods.begins(slot):
            return
        remedy = "see its log, and who may publish on the broker"
        log.warning("bot.flaps", slot=str(slot), remedy=remedy)
        self._tell(slot, f"the bot of {slot} comes and goes without end: {remedy}")
