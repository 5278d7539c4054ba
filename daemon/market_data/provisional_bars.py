"""Hand on provisional bars if too many bars close at once for REST to confirm in time.

One call confirms one slot and takes 21 of a minute's weight. If the bars that close together
need more weight than a minute has, the last is confirmed minutes after its close. Then a bar
is stored and handed on as soon as the stream alone proves it final. REST confirms it later,
after the bars that the stream cannot prove.
"""

from collections.abc import Collection, Sequence
from typing import Final

import structlog

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.hyperliquid.rest import CONFIRMING_WEIGHT
from daemon.market_data.bar_close import grace_ms
from daemon.market_data.bar_follower import BarFollower
from daemon.market_data.feed_troubles import Troubles
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import MINUTE_MS, SlotName

log = structlog.get_logger()

# The other weight is for the clock, repeated calls and funding.
_SHARE: Final = 0.9
_LOOK_AGAIN_S: Final = 1.0
_LOOKS: Final = 20
# What others write, also the first decisions, waits for so many bars and not for all.
_STORED_AT_ONCE: Final = 8

Offer = tuple[BarFollower, Bar, Provenance]


class ProvisionalBars:
    """Hands on the bars that the stream proves, if REST would confirm them too late.

    Args:
        slots: All slots that ask REST for their bars; they may change.
        weight_per_minute: Weight that REST may spend in a minute.
    """

    def __init__(self, slots: Collection[SlotName], weight_per_minute: int) -> None:
        self._slots = slots
        self._most = int(_SHARE * weight_per_minute / CONFIRMING_WEIGHT)

    def is_on(self, close_ms: int) -> bool:
        """Tell whether more bars close at `close_ms`, ms UTC, than a minute's weight confirms."""
        return sum(close_ms % slot.interval_ms == 0 for slot in self._slots) > self._most

    @property
    def is_possible(self) -> bool:
        """Tell whether so many bars can ever close at once."""
        return len(self._slots) > self._most

    async def run(
        self,
        followers: Collection[BarFollower],
        store: AsyncStore,
        venue: VenueClock,
        troubles: Troubles,
    ) -> None:
        """Hand on the bars that the stream proves at each such close; ends only when cancelled."""
        told, close_ms = LogOnce(), venue.now_ms()
        while True:
            # Every bar closes on a minute, also those of slots that are added meanwhile.
            close_ms = (max(close_ms, venue.now_ms()) // MINUTE_MS + 1) * MINUTE_MS
            await venue.sleep_until(close_ms + grace_ms(venue.uncertainty_ms))
            if self.is_possible and told.begins():
                log.info("feed.many_slots", slots=len(self._slots), confirmed_first=self._most)
            if not self.is_on(close_ms):
                continue
            for _ in range(_LOOKS):
                offers = [(f, *offer) for f in followers if (offer := f.offer(close_ms))]
                for first in range(0, len(offers), _STORED_AT_ONCE):
                    await _hand_on(offers[first : first + _STORED_AT_ONCE], store, troubles)
                await venue.sleep(_LOOK_AGAIN_S)


async def _hand_on(offers: Sequence[Offer], store: AsyncStore, troubles: Troubles) -> None:
    try:
        await store.call(_put, offers)
    except HyperdriftError as e:
        troubles.begin(offers[0][0].slot, e)
        return
    for follower, bar, provenance in offers:
        await follower.lead(bar, provenance)


def _put(store: Store, offers: Sequence[Offer]) -> None:
    for follower, bar, provenance in offers:
        store.put_bars(follower.slot, [bar], provenance)
