"""Tell a person when a slot has no new bar of record for long, and when bars come again.

Filled bars hide such a silence from everything behind the feed: each is handed on in time.
"""

from typing import Final

from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import COIN_TROUBLE, SlotTroubles
from daemon.core.times import utc
from daemon.market_data.feed import Feed
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName

_BARS: Final = 3
_LEAST_MS: Final = 30 * 60_000
# In a fast replay this much wall time may pass on this machine itself, if it is busy.
_LEAST_WALL_S: Final = 20.0
_LOOK_S: Final = 60.0
_KIND: Final = "silence"


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


class SilenceWatch:
    """Looks for slots without a new bar of record.

    Args:
        feed: Knows the newest bar of record of each slot, and what keeps others from coming.
        troubles: Takes the silences. A slot whose bars are known not to come is left out.
        venue: The venue's clock.
    """

    def __init__(self, feed: Feed, troubles: SlotTroubles, venue: VenueClock) -> None:
        self._feed, self._troubles, self._venue = feed, troubles, venue
        self._least_ms = _LEAST_WALL_S * 1000 * venue.speed
        self._silent: set[SlotName] = set()
        self._began_ms: dict[SlotName, int] = {}

    async def run(self) -> None:
        """Look once a minute; ends only when cancelled. Start it after the backfill."""
        while True:
            self.look()
            await self._venue.sleep(_LOOK_S)

    def look(self) -> None:
        """Note which slots are silent by now, and which are not any more.

        Time before the first call does not count: bars that closed then were to be fetched. Nor
        does time in which the venue did not list the coin.
        """
        now_ms, slots = self._venue.now_ms(), self._feed.slots
        self._silent &= set(slots)
        self._began_ms = {slot: ms for slot, ms in self._began_ms.items() if slot in slots}
        for slot in slots:
            began_ms = self._began_ms.setdefault(slot, now_ms)
            if slot not in self._silent and self._troubles.has(slot, COIN_TROUBLE):
                self._began_ms[slot] = now_ms
                continue
            newest = self._feed.state(slot).record_t
            since_ms = None if newest is None else newest + slot.interval_ms
            waits_ms = now_ms - max(since_ms or 0, began_ms)
            if waits_ms <= max(limit_ms(slot), self._least_ms):
                self._over(slot)
            elif slot in self._silent or not self._is_explained(slot):
                self._tell(slot, since_ms)

    def _is_explained(self, slot: SlotName) -> bool:
        """Whether a person was told already why no bar of the slot comes."""
        why = self._feed.trouble(slot)
        return bool(why) and why in self._troubles.of(slot)

    def _tell(self, slot: SlotName, since_ms: int | None) -> None:
        since = "ever" if since_ms is None else f"since {utc(since_ms)} UTC"
        if why := self._feed.trouble(slot) or self._behind(slot, since_ms):
            text = f"no bar of record of {slot} {since}: {why}"
        else:
            text = (
                f"no trade of {slot.coin} {since}, by the venue's answers; the bars of {slot} are"
                " filled in flat: look at the venue whether the coin is halted, delisted or rarely"
                " traded"
            )
        self._silent.add(slot)
        self._troubles.begin(slot, _KIND, text)

    def _behind(self, slot: SlotName, since_ms: int | None) -> str:
        """Return what to say if the venue was not asked about this time; empty if it was."""
        if since_ms is None or self._feed.settled_t(slot) >= since_ms:
            return ""
        return (
            "the daemon is behind with what it asks the venue; give it more of this host's cores,"
            " or let it follow fewer slots"
        )

    def _over(self, slot: SlotName) -> None:
        if slot in self._silent:
            self._silent.discard(slot)
            self._troubles.end(slot, _KIND)
