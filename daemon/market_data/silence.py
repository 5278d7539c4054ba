"""Tell a person when a slot has no new bar of record for long, and when bars come again.

Filled bars hide such a silence from everything behind the feed: each is handed on in time.
"""

from typing import Final

from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName

_BARS: Final = 3
_LEAST_MS: Final = 30 * 60_000


def limit_ms(slot: SlotName) -> int:
    """Return for how long a slot may be without a new bar of record, ms."""
    return max(_BARS * slot.interval_ms, _LEAST_MS)


def age(ms: int) -> str:
    """Return a length of time for people, such as `2 h 5 min`."""
    minutes = max(0, ms) // 60_000
    if ms < HOUR_MS:
        return f"{minutes} min"
    if ms < 2 * DAY_MS:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{ms // DAY_MS} d {ms % DAY_MS // HOUR_MS} h"
