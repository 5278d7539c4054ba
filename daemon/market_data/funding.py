"""Store each settled funding rate before the bar that may use it is handed on.

A bar must be scored with the rate settled before its close, as in training. So the newest
rate is fetched first. The wait is short: a late bar is a worse fault than a late rate.

A rate may stay the same for days, so no feature shows that settlement has stopped. The age
of the newest settlement shows it. Most coins are settled every hour, some every eight: how
often, a coin's own last settlements tell.
"""

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final

import structlog

from daemon.core.bars import Alarm, Hole
from daemon.core.clock import VenueClock
from daemon.core.errors import CoinUnserved
from daemon.core.log_once import LogOnce
from daemon.core.times import utc
from daemon.hyperliquid.rate_limit import Priority
from daemon.hyperliquid.rest import CONFIRMING_WEIGHT, RestClient
from daemon.market_data.feed_troubles import Troubles
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName

log = structlog.get_logger()

_WAITS_S: Final = (0.0, 2.0, 4.0)
# A settlement is stamped up to half a second after the hour.
_SETTLED_MS: Final = 2_000
# Then the bars that closed on the hour are confirmed, as many as a minute's weight allows.
_CONFIRMED_MS: Final = 70_000
_STALE_MS: Final = 3 * HOUR_MS
_FUNDING: Final = "funding"
# The spacing is the shorter one of the last two: a missed settlement does not lengthen it.
_SPACINGS: Final = 2
_LONGEST_SPACING_MS: Final = DAY_MS


class FundingSettlements:
    """Keeps the funding rates of some coins up to date.

    Args:
        rest: The venue's REST answers.
        store: Takes the rates.
        venue: The venue's clock.
        slots: Slots to alarm if the funding of their coin is not settled any more; they may change.
        alarm: Reports that to a person.
        troubles: Takes the coins whose funding the venue does not serve.
    """

    def __init__(
        self,
        rest: RestClient,
        store: AsyncStore,
        venue: VenueClock,
        slots: Collection[SlotName] = (),
        alarm: Alarm = lambda *_: None,
        *,
        troubles: Troubles | None = None,
    ) -> None:
        self._rest, self._store, self._venue = rest, store, venue
        self._slots, self._alarm = slots, alarm
        self._troubles = troubles or Troubles()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._newest: dict[str, int] = {}
        self._spacing_ms: dict[str, int] = {}
        self._late, self._stale = LogOnce(), LogOnce()

    async def run(self, coins: Callable[[], Collection[str]]) -> None:
        """Fetch each hour's rates once they are settled, before a bar needs them.

        If the rates of all coins and the bars that close on the hour take more weight than a
        minute has, the bars go first: the rates would hold them up for minutes.

        Args:
            coins: Returns the coins that are followed now.
        """
        while True:
            hour_ms = (self._venue.now_ms() // HOUR_MS + 1) * HOUR_MS
            weight = 2 * CONFIRMING_WEIGHT * len(coins())  # a call for a few rates takes as much
            is_much = weight > self._rest.weight_per_minute
            await self._venue.sleep_until(hour_ms + (_CONFIRMED_MS if is_much else _SETTLED_MS))
            await asyncio.gather(*(self._prepare(coin, hour_ms) for coin in coins()))

    async def require(self, coin: str, close_ms: int, priority: Priority = Priority.LIVE) -> None:
        """Store the rates settled before a bar's close, if they come within seconds.

        Args:
            coin: The coin.
            close_ms: Close of the bar, ms UTC.
            priority: Priority of the calls.
        """
        # A rate is stamped some ms after the hour: a bar that closes on the hour lacks it.
        due_ms = (close_ms - 1) // HOUR_MS * HOUR_MS
        async with self._locks[coin]:
            if coin not in self._newest:
                await self._learn(coin)
            why = "not settled yet"
            if not self._lacks(coin, due_ms):
                self._served(coin)  # the backfill may have stored it
                self._report(coin, due_ms, why)
                return
            for wait_s in _WAITS_S[:1] if self._late.lasts(coin) else _WAITS_S:
                await self._venue.sleep(wait_s)
                try:
                    await self._fetch(coin, close_ms, priority)
                except HyperdriftError as e:
                    why = str(e)
                    break
                if not self._lacks(coin, due_ms):
                    break
            else:  # the venue answered, and had no newer rate
                self._judge(coin, close_ms)
            self._report(coin, due_ms, why)

    async def _prepare(self, coin: str, hour_ms: int) -> None:
        if self._newest.get(coin, 0) < hour_ms:
            with contextlib.suppress(HyperdriftError):  # `require` logs it for the bar
                await self._fetch(coin, hour_ms + 1, Priority.ROUTINE)

    async def _fetch(self, coin: str, close_ms: int, priority: Priority) -> None:
        newest = await self._store.call(Store.newest_funding_time, coin)
        start_ms = close_ms - DAY_MS if newest is None else newest + 1
        try:
            rates = await self._rest.funding(coin, start_ms, priority=priority)
        except CoinUnserved as e:
            for slot in self._of(coin):
                self._troubles.begin(slot, e, _FUNDING)
            raise
        self._served(coin)
        if rates:
            await self._store.call(Store.put_funding, coin, rates)
        # The backfill of a coin may have stored the rates that were looked for here.
        if rates or self._newest.get(coin) != (newest or 0):
            await self._learn(coin)

    def _of(self, coin: str) -> list[SlotName]:
        return [slot for slot in self._slots if slot.coin == coin]

    def _served(self, coin: str) -> None:
        for slot in self._of(coin):
            self._troubles.end(slot, _FUNDING)

    async def _learn(self, coin: str) -> None:
        """Look up the newest settlement of a coin, and how far its last ones lie apart."""
        newest = await self._store.call(Store.newest_funding_time, coin) or 0
        since_ms = newest - _SPACINGS * _LONGEST_SPACING_MS - HOUR_MS
        last = (await self._store.call(Store.funding, coin, since_ms, newest))[-_SPACINGS - 1 :]
        # A settlement is stamped some ms after the hour.
        hours = [round((b.time - a.time) / HOUR_MS) for a, b in itertools.pairwise(last)]
        self._newest[coin] = newest
        self._spacing_ms[coin] = max(1, min(hours, default=1)) * HOUR_MS

    def _lacks(self, coin: str, due_ms: int) -> bool:
        """Whether a rate that was to be settled by `due_ms`, an hour in ms UTC, is missing."""
        newest = self._newest.get(coin, 0)
        next_ms = newest // HOUR_MS * HOUR_MS + self._spacing_ms.get(coin, HOUR_MS)
        return next_ms <= due_ms

    def _report(self, coin: str, due_ms: int, why: str) -> None:
        if self._lacks(coin, due_ms):
            if self._late.begins(coin):
                log.warning("feed.funding_late", coin=coin, due_ms=due_ms, why=why)
        elif self._late.ends(coin):
            log.info("feed.funding_back", coin=coin)
            self._stale.ends(coin)

    def _judge(self, coin: str, close_ms: int) -> None:
        """Raise the alarm once if a coin's newest rate is too old; skip a coin without rates."""
        newest = self._newest[coin]
        limit_ms = max(_STALE_MS, 2 * self._spacing_ms[coin])
        if not newest or close_ms - newest <= limit_ms or not self._stale.begins(coin):
            return
        since = f"{utc(newest)} UTC"
        remedy = (
            "funding_rate and funding_momentum_1h stand still until then, and no retrain mends it: "
            "look at the venue's announcements, pause the bot if it relies on them"
        )
        log.warning("feed.funding_stale", coin=coin, since=since, remedy=remedy)
        text = f"the funding of {coin} has not been settled since {since} while bars come; {remedy}"
        for slot in self._slots:
            if slot.coin == coin:
                self._alarm(slot, "alert", Hole(newest, close_ms), text)
