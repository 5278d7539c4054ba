"""Which coins can be followed, while slots come and go; `tests/system` has the rest."""

import asyncio
from collections.abc import Collection
from typing import Any

from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles
from daemon.hyperliquid.listings import CoinFault
from daemon.market_data.listed_coins import ListedCoins
from hyperdrift.slot_name import SlotName
from tests.fakes import FakeClock

BTC, ETH, OLD = SlotName("BTC", "5m"), SlotName("ETH", "5m"), SlotName("OLD", "5m")


class SlowListings:
    """A list of coins that comes when it is told to."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def faults(self, _: Collection[str]) -> dict[str, CoinFault]:
        self.asked.set()
        await self.may_answer.wait()
        return {"OLD": CoinFault("delisted", "OLD is delisted")}


async def test_an_answer_about_a_coin_that_was_removed_meanwhile_changes_nothing() -> None:
    clock, listings = FakeClock(), SlowListings()
    asks: Any = listings
    listed = ListedCoins(asks, [BTC, ETH, OLD], clock, VenueClock(clock), SlotTroubles())
    asking = asyncio.create_task(listed.ask())
    await listings.asked.wait()
    listed.remove(ETH)
    listed.remove(OLD)
    listings.may_answer.set()
    await asking
    assert listed.coins == {"BTC"}
    assert listed.mistake == ""
    listed.remove(BTC)
    assert listed.mistake == ""
