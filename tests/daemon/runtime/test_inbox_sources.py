"""Bars and the time reach the inboxes of many slots one after the other."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

from daemon.core.bars import Bar
from daemon.core.clock import VenueClock
from daemon.core.loop_progress import LoopProgress
from daemon.market_data.feed import Feed
from daemon.runtime.inbox import Inbox
from daemon.runtime.inbox_sources import deliver_bars, deliver_time
from hyperdrift.slot_name import SlotName
from tests.fakes import FakeClock

SLOTS = [SlotName(coin, "5m") for coin in ("BTC", "ETH", "SOL")]


async def most_in_one_turn(inboxes: dict[SlotName, Inbox]) -> int:
    """Return how many inboxes were filled in the turn of the loop that filled most."""
    most = filled = 0
    for _ in range(30):
        await asyncio.sleep(0)
        now = sum(not inbox.empty() for inbox in inboxes.values())
        most, filled = max(most, now - filled), now
    assert filled == len(inboxes)
    return most


async def test_no_two_slots_begin_with_the_time_in_one_turn_of_the_loop() -> None:
    inboxes, clock = {slot: Inbox() for slot in SLOTS}, FakeClock()
    task = asyncio.create_task(deliver_time(inboxes, clock, VenueClock(clock)))
    assert await most_in_one_turn(inboxes) == 1
    task.cancel()


class Full:
    """A feed with a bar of each slot."""

    async def bars(self) -> AsyncIterator[tuple[SlotName, Bar]]:
        for slot in SLOTS:
            yield slot, Bar(0, 1.0, 1.0, 1.0, 1.0, 1.0)


async def test_no_two_slots_begin_with_a_bar_in_one_turn_of_the_loop() -> None:
    inboxes = {slot: Inbox() for slot in SLOTS}
    feed, progress, turns = cast("Feed", Full()), LoopProgress("deliver"), asyncio.Semaphore(1)
    task = asyncio.create_task(deliver_bars(feed, inboxes, None, progress, turns))
    assert await most_in_one_turn(inboxes) == 1
    await task


async def test_a_bar_waits_until_the_slot_before_has_computed_its_features() -> None:
    inboxes = {slot: Inbox() for slot in SLOTS}
    feed, progress, turns = cast("Feed", Full()), LoopProgress("deliver"), asyncio.Semaphore(1)
    await turns.acquire()
    task = asyncio.create_task(deliver_bars(feed, inboxes, None, progress, turns))
    for _ in range(30):
        await asyncio.sleep(0)
    assert [inbox.empty() for inbox in inboxes.values()] == [False, True, True]
    assert progress.is_alive()
    turns.release()
    await task
    assert not any(inbox.empty() for inbox in inboxes.values())
