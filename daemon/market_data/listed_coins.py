"""Know which slots the venue can be asked for: their coins are listed now.

A list may be short for a while. So a coin counts as unknown only if two good answers at least a
minute apart lack it, and one that is followed only if the venue fails to serve it too. The list
is asked for again while the daemon runs, so that a coin that is delisted is told of, and one
that appears is followed without a restart.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog

from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.core.slot_troubles import COIN_TROUBLE, SlotTroubles
from daemon.hyperliquid.listings import CoinFault, Listings
from hyperdrift.clock import Clock
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

# Venue seconds. A delisting is seen within the hour, a coin that appears within five minutes.
_CONFIRM_S: Final = 60.0
_EVERY_S, _LACKING_S = 3300.0, 300.0
_DOUBT_S: Final = 20.0


@dataclass(slots=True)
class _Lack:
    """A coin that cannot be followed: why, and since when, in s of venue time."""

    fault: CoinFault
    since_s: float
    is_sure: bool


class ListedCoins:
    """Which of the slots' coins the venue lists.

    Args:
        listings: Asks the venue.
        slots: The slots.
        clock: Real time; the times of this class are `speed` times faster.
        venue: The venue's clock.
        troubles: Takes what is wrong with a coin, for each of its slots.

    Attributes:
        on_delisted: Called when the venue says of a coin that it is delisted.
    """

    def __init__(
        self,
        listings: Listings,
        slots: Collection[SlotName],
        clock: Clock,
        venue: VenueClock,
        troubles: SlotTroubles,
    ) -> None:
        self._listings, self._slots = listings, list(slots)
        self._clock, self._venue, self._troubles = clock, venue, troubles
        self._lacks: dict[str, _Lack] = {}
        self._followed: set[str] = set()
        self._doubts: set[str] = set()
        self._changed, self._doubted = asyncio.Condition(), asyncio.Event()
        self._suspicions, self._outage = LogOnce(), LogOnce()
        self.on_delisted: Callable[[], None] = lambda: None

    @property
    def coins(self) -> frozenset[str]:
        """The coins that can be followed now."""
        return frozenset(self._followed)

    def is_listed(self, slot: SlotName) -> bool:
        """Return whether a slot can be followed now."""
        return slot.coin in self._followed

    @property
    def waits_for(self) -> str:
        """What must be sure before a start without any coin goes on; empty if all is."""
        unsure = [lack.fault.text for lack in self._lacks.values() if not lack.is_sure]
        return "; ".join(unsure) if unsure and not self._followed else ""

    @property
    def mistake(self) -> str:
        """What is wrong with the names if every one of them is certainly wrong, else empty."""
        return "" if self._followed else "; ".join(k.fault.text for k in self._lacks.values())

    async def add(self, slots: Collection[SlotName]) -> None:
        """Know more slots, and ask for their coins; `run` soon asks again for what is lacking."""
        self._slots += slots
        with contextlib.suppress(HyperdriftError):  # `run` logs it
            await self.ask()
        for slot in slots:
            if not self.is_listed(slot):
                self.doubt(slot.coin)

    def remove(self, slot: SlotName) -> None:
        """Know a slot no longer."""
        self._slots.remove(slot)
        if not self._of(slot.coin):
            self._followed.discard(slot.coin)
            self._lacks.pop(slot.coin, None)
            self._doubts.discard(slot.coin)

    async def ask(self) -> None:
        """Ask the venue once.

        Raises:
            HyperdriftError: If it gives no good answer about any coin; nothing is changed then.
        """
        coins = sorted({slot.coin for slot in self._slots})
        faults = await self._listings.faults(coins)
        for coin in coins:
            if not self._of(coin):  # its slots were removed meanwhile
                continue
            if fault := faults.get(coin):
                self._lacking(coin, fault)
            else:
                self._found(coin)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, slot: SlotName, *, listed: bool) -> None:
        """Wait until a slot can be followed, or until it no longer can."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_listed(slot) is listed)

    def doubt(self, coin: str) -> None:
        """Ask again soon: the venue closed a socket, or failed, as for a coin it does not know."""
        self._doubts.add(coin)
        self._doubted.set()

    async def run(self) -> None:
        """Ask again and again, until cancelled."""
        while True:
            await self._rest()
            try:
                await self.ask()
            except HyperdriftError as e:
                if self._outage.begins():
                    outcome = "the slots go on as they are; asked again"
                    log.warning("venue.coins_unasked", why=str(e), outcome=outcome)
                continue
            if self._outage.ends():
                log.info("venue.answers")

    async def _rest(self) -> None:
        """Wait for the next time to ask."""
        if self._outage.lasts() or any(not lack.is_sure for lack in self._lacks.values()):
            await self._venue.sleep(_CONFIRM_S)
            return
        self._doubted.clear()
        await self._venue.sleep(_DOUBT_S)
        wait_s = (_LACKING_S if self._lacks else _EVERY_S) - _DOUBT_S
        async with asyncio.TaskGroup() as tasks:
            over = tasks.create_task(self._venue.sleep(wait_s), name="coins-wait")
            doubt = tasks.create_task(self._doubted.wait(), name="coins-doubt")
            await asyncio.wait([over, doubt], return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
            doubt.cancel()

    def _lacking(self, coin: str, fault: CoinFault) -> None:
        now_s, was = self._now_s(), self._lacks.get(coin)
        if fault.kind == "unasked" and (coin in self._followed or (was and was.is_sure)):
            return  # no answer says nothing new
        since_s = was.since_s if was and was.fault.kind == fault.kind else now_s
        lasts = now_s - since_s >= _CONFIRM_S
        is_sure = fault.kind in {"spot", "delisted"} or (fault.kind == "unknown" and lasts)
        if fault.kind == "unknown" and coin in self._followed and coin not in self._doubts:
            is_sure = lasts = False  # its bars come: the list is short
        self._lacks[coin] = _Lack(fault, since_s, is_sure)
        if is_sure or lasts:
            if fault.kind == "delisted" and coin in self._followed:
                self.on_delisted()
            self._followed.discard(coin)
            for slot in self._of(coin):
                self._troubles.begin(slot, COIN_TROUBLE, fault.text)
        elif self._suspicions.begins(coin):
            outcome = "asked again within a minute, before it counts"
            log.warning("venue.coin_missing", coin=coin, why=fault.text, outcome=outcome)

    def _found(self, coin: str) -> None:
        self._followed.add(coin)
        self._doubts.discard(coin)
        self._suspicions.ends(coin)
        if self._lacks.pop(coin, None):
            log.info("venue.coin_listed", coin=coin)
            for slot in self._of(coin):
                self._troubles.end(slot, COIN_TROUBLE)

    def _of(self, coin: str) -> list[SlotName]:
        return [slot for slot in self._slots if slot.coin == coin]

    def _now_s(self) -> float:
        return self._clock.monotonic() * self._venue.speed
