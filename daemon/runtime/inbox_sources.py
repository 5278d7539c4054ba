"""Fill the inboxes of the slots with what needs no broker: bars, late histories and the time.

One slot at a time gets its bar or the time: if hundreds began to work in one turn of the event
loop, everything else would wait for them.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from daemon.core.clock import VenueClock
from daemon.core.loop_progress import LoopProgress
from daemon.market_data.feed import Feed
from daemon.market_data.order_flow import CohortFlow
from daemon.runtime.inbox import HistoryFetched, Inbox
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName
from monitor.events import Ticked

_TICK_S: Final = 60.0


async def deliver_bars(
    feed: Feed,
    inboxes: Mapping[SlotName, Inbox],
    flow: CohortFlow | None,
    progress: LoopProgress,
    turns: asyncio.Semaphore,
) -> None:
    """Put each bar into its slot's inbox, for ever.

    Args:
        feed: Where the bars come from.
        inboxes: Slot -> its inbox.
        flow: Order flow of cohorts; what belongs to a bar is settled before the bar is handed on.
        progress: Notes that this works.
        turns: Who holds one computes features; the next bar waits for it.
    """
    async for slot, bar in feed.bars():
        with progress.working():
            if flow and slot in inboxes:
                await flow.settle(slot, bar.t)
            if inbox := inboxes.get(slot):  # it may have been removed meanwhile
                await inbox.put(bar)
        await asyncio.sleep(0)  # noqa: TID251 - no time passes
        async with turns:
            pass  # all slots at once would slow down the one whose turn it is


async def deliver_histories(feed: Feed, inboxes: Mapping[SlotName, Inbox]) -> None:
    """Tell each slot whose past was filled late, for ever."""
    async for slot in feed.filled_late():
        if inbox := inboxes.get(slot):
            await inbox.put(HistoryFetched())


async def deliver_time(inboxes: Mapping[SlotName, Inbox], clock: Clock, venue: VenueClock) -> None:
    """Put clock events into the inboxes, so that engines know the time without bars too."""
    while True:
        await clock.sleep(_TICK_S)
        for slot, inbox in tuple(inboxes.items()):
            inbox.put_nowait(Ticked(slot=str(slot), at_ms=venue.now_ms()))
            await asyncio.sleep(0)  # noqa: TID251 - no time passes
