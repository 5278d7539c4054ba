"""Log bars that are lost or soon will be, and raise the alarm."""

from typing import Final

import structlog

from daemon.core.bars import REACH_BARS, Alarm, Hole
from daemon.core.clock import VenueClock
from daemon.market_data.bar_close import closed_t
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.slot_name import HOUR_MS, SlotName

log = structlog.get_logger()

# If so many bars are missing, a person is told: at 5m four days are left to act, at 1m 21
# hours.
_WARN_BARS: Final = REACH_BARS * 3 // 4


async def give_up(store: AsyncStore, slot: SlotName, hole: Hole, alarm: Alarm) -> None:
    """Store a hole as a gap, log it and raise the alarm.

    Raises:
        StoreUnavailable: If the store cannot be written.
    """
    bars = (hole.to_t - hole.from_t) // slot.interval_ms + 1
    remedy = "the venue has no such bars any more: import them from a file if you have one"
    log.error("feed.gap", slot=str(slot), **hole._asdict(), bars=bars, remedy=remedy)
    await store.call(Store.note_gap, slot, hole)
    alarm(slot, "gap", hole, f"{bars} bars of {slot} are lost; {remedy}")


def warn_of_reach(slot: SlotName, newest_t: int, venue: VenueClock, alarm: Alarm) -> bool:
    """Log and raise the alarm if the venue will soon not serve the missing bars any more.

    Args:
        slot: The slot.
        newest_t: Open time of the newest stored bar, ms UTC; later bars are missing.
        venue: The venue's clock.
        alarm: Reports it to a person.

    Returns:
        Whether it did.
    """
    hole = Hole(newest_t + slot.interval_ms, closed_t(slot, venue))
    bars = (hole.to_t - newest_t) // slot.interval_ms
    if bars < _WARN_BARS:
        return False
    left_h = max(0, REACH_BARS - bars) * slot.interval_ms / HOUR_MS
    text = (
        f"{bars} bars of {slot} could not be fetched yet; the venue serves the newest {REACH_BARS}"
        f" only, so the first are lost in {left_h:.0f} h: make the venue reachable before"
    )
    log.error("feed.hole_closing", slot=str(slot), **hole._asdict(), bars=bars, why=text)
    alarm(slot, "hole_closing", hole, text)
    return True
