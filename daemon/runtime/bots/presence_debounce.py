"""Limit how often a bot's presence is passed on; the newest one always passes in the end.

Each presence costs a journal entry, a check of the live model's files and perhaps the start of
another interpreter. Anybody who may publish on the broker can send thousands a second.
"""

from collections.abc import Callable
from typing import Final

import structlog

from daemon.core.log_once import LogOnce
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

# Ten restarts in a row (20 presences) pass at once; then one presence in `EVERY_S` seconds.
AT_ONCE: Final = 20
EVERY_S: Final = 10.0


class PresenceDebounce:
    """Limits presences per slot; the caller keeps the newest one and asks again until it passes.

    Args:
        clock: Gives monotonic time, so that a step of the wall clock delays nothing.
        tell: Takes the slot and a sentence when a bot begins to come and go too often.
    """

    def __init__(self, clock: Clock, tell: Callable[[SlotName, str], None]) -> None:
        self._clock, self._tell = clock, tell
        self._whole_at: dict[SlotName, float] = {}  # when all `AT_ONCE` may pass again
        self._floods = LogOnce()

    def pass_on(self, slot: SlotName, put: Callable[[], bool]) -> bool:
        """Call `put` if a presence of the slot's bot may pass now; return whether it passed."""
        now = self._clock.monotonic()
        used_s = max(0.0, self._whole_at.get(slot, now) - now)
        if used_s > (AT_ONCE - 1) * EVERY_S:
            self._warn(slot)
            return False
        if used_s <= (AT_ONCE - 2) * EVERY_S:  # else the same flood goes on
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
