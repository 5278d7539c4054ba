"""Funding rates, settled every hour, in the store before the bar that may use them.

A bar scored without the rate that was settled before its close would differ from the
same bar in training. So the newest rate is fetched first; waiting for it is brief,
because a late rate is a smaller fault than a late bar.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Collection
from typing import Final

import structlog

from daemon.bars import DAY_MS, HOUR_MS
from daemon.clock import VenueClock
from daemon.errors import DaemonError
from daemon.hyperliquid.budget import Priority
from daemon.hyperliquid.rest import RestClient
from daemon.store import AsyncStore, Store

log = structlog.get_logger()

_WAITS_S: Final = (0.0, 2.0, 4.0)
# A settlement is stamped up to half a second after the hour.
_SETTLED_MS: Final = 2_000


class Settlements:
    """Keeps the funding rates of some coins up to date."""

    def __init__(self, rest: RestClient, store: AsyncStore, venue: VenueClock) -> None:
        self._rest, self._store, self._venue = rest, store, venue
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._newest: dict[str, int] = {}
        self._late: set[str] = set()

    async def run(self, coins: Collection[str]) -> None:
        """Fetch each hour's rates when they are settled, ahead of the bars that may use them."""
        while True:
            hour_ms = (self._venue.now_ms() // HOUR_MS + 1) * HOUR_MS
            await self._venue.sleep_until(hour_ms + _SETTLED_MS)
            await asyncio.gather(*(self._prepare(coin, hour_ms) for coin in coins))

    async def require(self, coin: str, close_ms: int, priority: Priority = Priority.LIVE) -> None:
        """Store the rates settled before a bar's close, if they can be had soon."""
        # Stamped some ms after the hour: a bar that closes on the hour cannot know that rate.
        due_ms = (close_ms - 1) // HOUR_MS * HOUR_MS
        async with self._locks[coin]:
            if coin not in self._newest:
                stored = await self._store.call(Store.newest_funding_time, coin)
                self._newest[coin] = stored or 0
            if self._newest.get(coin, 0) >= due_ms:
                return
            why = "not settled yet"
            for wait_s in _WAITS_S[:1] if coin in self._late else _WAITS_S:
                await self._venue.sleep(wait_s)
                try:
                    await self._fetch(coin, close_ms, priority)
                except DaemonError as e:
                    why = str(e)
                    break
                if self._newest.get(coin, 0) >= due_ms:
                    break
            self._report(coin, due_ms, why)

    async def _prepare(self, coin: str, hour_ms: int) -> None:
        if self._newest.get(coin, 0) < hour_ms:
            with contextlib.suppress(DaemonError):  # a bar that needs the rate says so
                await self._fetch(coin, hour_ms + 1, Priority.ROUTINE)

    async def _fetch(self, coin: str, close_ms: int, priority: Priority) -> None:
        newest = await self._store.call(Store.newest_funding_time, coin)
        start_ms = close_ms - DAY_MS if newest is None else newest + 1
        if rates := await self._rest.funding(coin, start_ms, priority=priority):
            await self._store.call(Store.put_funding, coin, rates)
            newest = rates[-1].time
        self._newest[coin] = newest or 0

    def _report(self, coin: str, due_ms: int, why: str) -> None:
        late = self._newest.get(coin, 0) < due_ms
        if late and coin not in self._late:
            log.warning("feed.funding_late", coin=coin, due_ms=due_ms, why=why)
            self._late.add(coin)
        elif not late and coin in self._late:
            log.info("feed.funding_back", coin=coin)
            self._late.discard(coin)
