"""Say which slots get their bars from the venue, and which from the bars of a shorter slot."""

from collections.abc import Mapping

import structlog

from daemon.core.clock import VenueClock
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.market_data.bar_follower import BarFollower
from daemon.market_data.longer.aggregation import sources
from daemon.market_data.longer.shorter_bars import ShorterBars
from daemon.store.async_store import AsyncStore
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()


class BarSources:
    """Gives each follower the bars of the shortest slot of its coin that divides its interval.

    Args:
        followers: The followers of all slots; they may change.
        store: Holds the bars.
        venue: The venue's clock.
        oddities: Counts how often REST must be asked for a longer bar after all.

    Attributes:
        asking: The slots that ask the venue themselves.
    """

    def __init__(
        self,
        followers: Mapping[SlotName, BarFollower],
        store: AsyncStore,
        venue: VenueClock,
        oddities: AnomalyLog,
    ) -> None:
        self._followers, self._store = followers, store
        self._venue, self._oddities = venue, oddities
        self.asking: set[SlotName] = set()

    def shorter(self, slot: SlotName) -> SlotName | None:
        """Return the slot whose bars a slot's bars are merged from; None if it asks the venue."""
        follower = self._followers.get(slot)
        return follower.shorter.slot if follower and follower.shorter else None

    def settle(self) -> None:
        """Give each follower its source anew; call it whenever the followers change."""
        found = sources(self._followers)
        self.asking.clear()
        self.asking.update(slot for slot, source in found.items() if source is None)
        given = {
            str(slot): str(source or "")
            for slot, source in found.items()
            if self._give(self._followers[slot], source)
        }
        if given:
            log.info("feed.sources", merged_from=given)

    def _give(self, follower: BarFollower, source: SlotName | None) -> bool:
        """Give a follower its source; return whether it had another one."""
        slot, held = follower.slot, follower.shorter
        shorter = None if source is None else self._followers[source]
        if (held.follower if held else None) is shorter:
            return False
        follower.shorter = None
        if held:
            held.leave()
        if shorter:
            args = (self._store, self._venue, self._oddities)
            follower.shorter = ShorterBars(slot, shorter, *args)
        return True
