"""Hand each closed trade to the engine once, from messages and from a file.

The journal has the trades that were taken. So a restart can read the whole file again and
count no trade twice. Anybody on the broker can send messages, so their number is limited.
"""

from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

import structlog

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import TradesState
from daemon.runtime import event_codec
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from daemon.trade_files.closed_trade import BadTrade, FileTrade, check_times, whole
from daemon.trade_files.trade_counts import TradeCounts
from daemon.trade_files.trade_file import KEPT_DAYS
from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.events import TradeClosed

log = structlog.get_logger()

# A bot closes a few trades in a bar. After an outage it may send those of a day at once.
PER_BAR, AT_ONCE = 10, 200
# A file and a message may round the close of one trade; parts of one close further apart.
_ROUNDED_MS = 60_000
_IN_PARTS = "it was reported before, with another close"


class _Taken(NamedTuple):
    """When a trade was taken and when it closed, ms UTC."""

    at_ms: int
    closed_ms: int


class TradeBook:
    """Knows which trades were taken, and counts those that were not.

    Args:
        venue: The venue's clock.

    Attributes:
        in_file: Counts of the trades in the file.
        in_messages: Counts of the trades in messages.
    """

    def __init__(self, venue: VenueClock) -> None:
        self._venue = venue
        self._taken: dict[tuple[str, str], _Taken] = {}
        self.in_file, self.in_messages = TradeCounts(), TradeCounts()

    async def recall(self, store: AsyncStore, slots: Collection[SlotName]) -> None:
        """Read from the journal which trades were taken before this start."""
        for slot in tuple(slots):
            for trade_id, taken in await store.call(_journalled, slot, self.oldest_ms):
                self._taken[str(slot), trade_id] = taken

    def knows(self, slot: SlotName, trade_id: str) -> bool:
        """Return whether a trade was taken."""
        return (str(slot), trade_id) in self._taken

    def first_close(self, slot: SlotName, trade_id: str) -> int:
        """Return when a trade that was taken closed, ms UTC; 0 if none of its id was taken."""
        known = self._taken.get((str(slot), trade_id))
        return known.closed_ms if known else 0

    @property
    def oldest_ms(self) -> int:
        """Return the time, ms UTC, before which a closed trade is ignored."""
        return self._venue.now_ms() - KEPT_DAYS * DAY_MS

    def state(self) -> dict[str, TradesState]:
        """Return the counts by where the trades came from; nothing where none came."""
        found = {"file": self.in_file.state(), "messages": self.in_messages.state()}
        return {name: counts for name, counts in found.items() if counts != TradesState()}

    def pass_over(self, name: str) -> None:
        """Count a trade that was published for a slot that there is not; log the first."""
        no_slot = self.in_messages.no_slot
        if no_slot[called := no_slot.add(name)] == 1:
            remedy = "add [[slots]] for it, or have the bot publish under the name of its slot"
            log.warning("trades.unknown_slot", slot=called, remedy=remedy)

    def heeds(self, slot: SlotName, trade: TradeReport) -> bool:
        """Return whether a trade of a message can count; count and log it if not."""
        counts = self.in_messages
        try:
            if closed_ms := self.first_close(slot, trade.trade_id):
                check_whole(trade, closed_ms)  # QoS 1 may deliver a trade twice
                return False
            check_times(trade.opened_ms, trade.closed_ms, self._venue.now_ms())
        except BadTrade as e:
            if counts.add_bad(e.kind, f"{slot} {trade.trade_id}", str(e)):
                remedy = "further ones like it are only counted"
                log.warning("trades.bad_message", slot=str(slot), why=str(e), remedy=remedy)
            return False
        is_old = trade.closed_ms < self.oldest_ms
        counts.old += is_old
        return not is_old

    def closed(self, slot: SlotName, trade: FileTrade | TradeReport) -> TradeClosed | None:
        """Take a trade; return it as an event, None if it was taken before."""
        at_ms = self._venue.now_ms()
        if self.knows(slot, trade.trade_id):
            return None
        self._taken[str(slot), trade.trade_id] = _Taken(at_ms, trade.closed_ms)
        first = next(iter(self._taken))
        if self._taken[first].at_ms < self.oldest_ms:
            del self._taken[first]
        return TradeClosed(
            slot=str(slot),
            at_ms=at_ms,
            trade_id=trade.trade_id,
            side=trade.side,
            opened_ms=trade.opened_ms,
            closed_ms=trade.closed_ms,
            pnl=trade.pnl,
            notional=_notional(trade),
        )


class TradeLimit:
    """Limits how many trades of a slot are taken from messages; reports a flood once.

    Args:
        venue: The venue's clock; decides when a bar is over.
        tell: Takes the slot and a sentence when a flood begins.
    """

    def __init__(self, venue: VenueClock, tell: Callable[[SlotName, str], None]) -> None:
        self._venue, self._tell = venue, tell
        self._left: dict[SlotName, tuple[int, int]] = {}  # trades left, and in which bar
        self._refused: Counter[SlotName] = Counter()

    def take(self, slot: SlotName) -> bool:
        """Return whether one more may pass now, and count it if so."""
        bar = self._venue.now_ms() // slot.interval_ms
        left, then = self._left.get(slot, (AT_ONCE, bar))
        left = min(AT_ONCE, left + PER_BAR * max(0, bar - then))
        self._left[slot] = (max(0, left - 1), bar)
        if not left:
            self._refuse(slot)
        elif left > PER_BAR and self._refused[slot]:  # else the same flood goes on
            log.info("trades.flood_over", slot=str(slot), refused=self._refused.pop(slot))
        return bool(left)

    def _refuse(self, slot: SlotName) -> None:
        self._refused[slot] += 1
        if self._refused[slot] > 1:
            return
        remedy = (
            f"more than {PER_BAR} a bar are not counted: see who may publish on the broker, or, if "
            "they are the bot's, have it write them to trades.file"
        )
        log.warning("trades.flooded", slot=str(slot), remedy=remedy)
        self._tell(slot, f"a flood of trades is published for {slot}; {remedy}")


def _notional(trade: FileTrade | TradeReport) -> float:
    return abs(trade.entry * trade.size) if isinstance(trade, TradeReport) else trade.notional


def check_whole(trade: FileTrade | TradeReport, closed_ms: int) -> None:
    """Check that a trade that is reported again is the same: no further part, no other trade.

    Args:
        trade: The trade.
        closed_ms: When the first one of its id closed, ms UTC.

    Raises:
        BadTrade: If it closed at another time.
    """
    if abs(trade.closed_ms - closed_ms) > _ROUNDED_MS:
        what = "give each trade an id of its own, and report it once, when it is flat, with all pnl"
        text = f"{_IN_PARTS}: {what}"
        raise BadTrade(_IN_PARTS, text)


def _journalled(store: Store, slot: SlotName, since_ms: int) -> list[tuple[str, _Taken]]:
    entries = store.journal(slot, kinds=[event_codec.kind(TradeClosed)], since_ms=since_ms)
    return [
        (whole(str(entry.body["trade_id"])), _Taken(entry.at_ms, int(entry.body["closed_ms"])))
        for entry in entries
    ]
