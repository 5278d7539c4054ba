"""Fetch the past of all slots side by side, so that none waits for another for ever.

A slot whose past cannot be fetched now is put off: the start goes on, and its past is fetched
while it is followed.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Mapping
from random import Random
from typing import Final

import structlog

from daemon.core.bars import Alarm, Provenance
from daemon.core.clock import VenueClock
from daemon.core.errors import CoinUnserved
from daemon.hyperliquid.backoff import delays
from daemon.hyperliquid.rest import CONFIRMING_WEIGHT
from daemon.market_data.backfill import TAIL_BARS, Backfill
from daemon.market_data.feed_troubles import MISREADINGS, Troubles
from daemon.market_data.lost_bars import warn_of_reach
from daemon.store.store import Store
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_FIRST_DELAY_S, _LONGEST_DELAY_S, _LONGEST_OWN_S = 1.0, 60.0, 300.0
# A start goes on if no slot got its past for so long: the venue may be away.
_PATIENCE_S: Final = 600.0
_PAST: Final = "past"
# The weight that a slot takes at a start: one call for bars and one for funding.
_START_WEIGHT: Final = 2 * CONFIRMING_WEIGHT


class Histories:
    """Fetches and tells which slots got their past late.

    Args:
        backfill: Fetches the past of one slot.
        venue: The venue's clock.
        troubles: Takes the errors.
        alarm: Reports bars that will soon be lost.
    """

    def __init__(
        self,
        backfill: Backfill,
        venue: VenueClock,
        troubles: Troubles,
        alarm: Alarm,
    ) -> None:
        self._backfill, self._venue = backfill, venue
        self._troubles, self._alarm = troubles, alarm
        self._lacking: dict[SlotName, int] = {}
        self._tail_bars = 0
        self._late: asyncio.Queue[SlotName] = asyncio.Queue()

    async def fetch(self, since: Mapping[SlotName, int], ready: Collection[SlotName]) -> None:
        """Fetch the past of the slots that are `ready`; put off those that hold up the others.

        A slot whose bars are merged from a shorter slot comes after that one.
        If the venue does not answer, this waits for it, for ten minutes without a slot done. If
        the calls of all slots would take minutes, the newest bars are left to the followers.

        Args:
            since: Where to begin, by slot, ms UTC.
            ready: The slots whose coins the venue lists.
        """
        self._lacking = dict(since)
        is_long = len(ready) * _START_WEIGHT > self._backfill.rest.weight_per_minute
        self._tail_bars = TAIL_BARS if is_long else 0
        async with asyncio.TaskGroup() as tasks:
            begun: dict[SlotName | None, asyncio.Task[bool]] = {}
            for slot in sorted(ready, key=lambda slot: slot.interval_ms):
                before = begun.get(self._backfill.shorter(slot))
                begun[slot] = tasks.create_task(self._fill_after(before, slot, since[slot]))
            waiting = {task: slot for slot, task in begun.items() if slot}
            while waiting:
                done, _ = await asyncio.wait(
                    waiting, timeout=_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if (slot := waiting.pop(task)) and task.result():
                        self._lacking.pop(slot, None)
                if not done:
                    log.warning("feed.start_goes_on", slots=sorted(map(str, waiting.values())))
                    for task in waiting:
                        task.cancel()
                    break

    def lack(self, slot: SlotName, from_ms: int | None) -> None:
        """Put off the past of a slot, from `from_ms` (ms UTC) on; None asks for it no more."""
        if from_ms is None:
            self._lacking.pop(slot, None)
        else:
            self._lacking[slot] = from_ms

    async def fetch_late(self, slot: SlotName) -> None:
        """Fetch the past of a slot that was put off, however long that takes."""
        if (from_ms := self._lacking.get(slot)) is not None:
            await self._fill(slot, from_ms)
            self._lacking.pop(slot, None)
            await self._late.put(slot)

    async def late(self) -> AsyncIterator[SlotName]:
        """Yield each slot that was put off as soon as it has its past."""
        while True:
            yield await self._late.get()

    async def _fill_after(
        self, before: asyncio.Task[bool] | None, slot: SlotName, from_ms: int
    ) -> bool:
        if before:
            await asyncio.wait([before])
        return await self._fill(slot, from_ms, once=True)

    async def _fill(self, slot: SlotName, from_ms: int, *, once: bool = False) -> bool:
        """Fetch the past of a slot; return False if it holds up the others, with `once` only."""
        is_warned, misread = False, 0
        most = MISREADINGS if once else math.inf
        waits = delays(_FIRST_DELAY_S, _LONGEST_OWN_S, Random())  # noqa: S311 - jitter
        while True:
            try:
                await self._backfill.fetch(slot, from_ms, tail_bars=self._tail_bars)
            except HyperdriftError as e:
                self._troubles.begin(slot, e, _PAST)
                is_own = isinstance(e, CoinUnserved)
                misread += not e.transient
                if misread >= most or (once and is_own):
                    later = "its past is asked for again while it is followed"
                    log.error(  # noqa: TRY400 - no trace
                        "feed.backfill_put_off", slot=str(slot), why=str(e), outcome=later
                    )
                    return False
                is_warned = is_warned or await self._warn(slot)
                longest_s = _LONGEST_OWN_S if is_own else _LONGEST_DELAY_S
                await self._venue.sleep(min(next(waits), longest_s))
            else:
                self._troubles.end(slot, _PAST)
                return True

    async def _warn(self, slot: SlotName) -> bool:
        try:
            newest = await self._backfill.store.call(Store.newest_t, slot, Provenance.IMPORT)
        except HyperdriftError:  # the store fails, and that was logged
            return False
        return newest is not None and warn_of_reach(slot, newest, self._venue, self._alarm)
