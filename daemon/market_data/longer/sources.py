"""Say which slots get their bars from the venue, and which from the bars of a shorter slot."""

from collections.abc import Mapping
from typing import NamedTuple

import structlog

from daemon.core.clock import VenueClock
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.market_data.bar_follower import BarFollower
from daemon.market_data.longer.aggregation import shorter_slot
from daemon.market_data.longer.shorter_bars import ShorterBars
from daemon.store.async_store import AsyncStore
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()


class Changed(NamedTuple):
    """Slots that ask the venue themselves from now on, and slots that do so no more."""

    asking: set[SlotName]
    merging: set[SlotName]


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
        bars = self._followers[slot].shorter
        return bars.slot if bars else None

    def settle(self) -> Changed:
        """Give each follower its source anew; call it whenever the followers change."""
        before = set(self.asking)
        self.asking.intersection_update(self._followers)
        of_coin: dict[str, list[SlotName]] = {}
        for slot in self._followers:
            of_coin.setdefault(slot.coin, []).append(slot)
        for slot, follower in self._followers.items():
            self._give(follower, shorter_slot(slot, of_coin[slot.coin]))
        gone = before - self.asking
        return Changed(self.asking - before, gone & self._followers.keys())

    def _give(self, follower: BarFollower, source: SlotName | None) -> None:
        slot, held = follower.slot, follower.shorter
        shorter = None if source is None else self._followers[source]
        if shorter is None:
            self.asking.add(slot)
        else:
            self.asking.discard(slot)
        if (held.follower if held else None) is shorter:
            return
        follower.shorter = None
        if held:
            held.leave()
        if shorter:
            args = (self._store, self._venue, self._oddities)
            follower.shorter = ShorterBars(slot, shorter, *args)
        log.info("feed.source", slot=str(slot), merged_from=str(source or ""))
