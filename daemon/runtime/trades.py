"""Hand each closed trade to the engine once, from messages and from a file.

The journal has the trades that were taken. So a restart can read the whole file again and
count no trade twice. Anybody on the broker can send messages, so their number is limited.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from daemon.core.tasks import running
from daemon.runtime import event_codec
from daemon.runtime.trade_file import FileTrade, TradeFile
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.events import TradeClosed

log = structlog.get_logger()

# Older trades influence no decision; the file may hold years of them.
KEPT_DAYS: Final = 45
# Seconds between reads on systems without file notifications, such as a network share.
POLL_S: Final = 10.0
# A bot closes a few trades in a bar. After an outage it may send those of a day at once.
PER_BAR, AT_ONCE = 10, 200
_UNREADABLE: Final = (
    "let the daemon's user read the file and its folder (a service sees no home folders); until "
    "then none of its trades count"
)


class TradeBook:
    """Knows which trades were taken.

    Args:
        venue: The venue's clock.
    """

    def __init__(self, venue: VenueClock) -> None:
        self._venue = venue
        self._taken: dict[tuple[str, str], int] = {}

    async def recall(self, store: AsyncStore, slots: Collection[SlotName]) -> None:
        """Read from the journal which trades were taken before this start."""
        for slot in slots:
            for trade_id, at_ms in await store.call(_journalled, slot, self.oldest_ms):
                self._taken[str(slot), trade_id] = at_ms

    def knows(self, slot: SlotName, trade_id: str) -> bool:
        """Return whether a trade was taken."""
        return (str(slot), trade_id) in self._taken

    @property
    def oldest_ms(self) -> int:
        """Return the time, ms UTC, before which a closed trade is ignored."""
        return self._venue.now_ms() - KEPT_DAYS * DAY_MS

    def closed(self, slot: SlotName, trade: FileTrade | TradeReport) -> TradeClosed | None:
        """Take a trade; return it as an event, None if it was taken before."""
        at_ms = self._venue.now_ms()
        if self.knows(slot, trade.trade_id):
            return None
        self._taken[str(slot), trade.trade_id] = at_ms
        first = next(iter(self._taken))
        if self._taken[first] < self.oldest_ms:
            del self._taken[first]
        return TradeClosed(
            slot=str(slot),
            at_ms=at_ms,
            trade_id=trade.trade_id,
            side=trade.side,
            opened_ms=trade.opened_ms,
            closed_ms=trade.closed_ms,
            pnl=trade.pnl,
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


class TradeFollower(FileSystemEventHandler):
    """Reads the file of trades while it grows and puts each new trade into its slot's inbox.

    Args:
        file: The file.
        slots: The slots that its trades may belong to.
        book: Knows which trades were taken.
        put: Hands a trade to its slot.
        clock: Times the waits between reads.
    """

    def __init__(
        self,
        file: TradeFile,
        *,
        slots: Collection[SlotName],
        book: TradeBook,
        put: Callable[[SlotName, TradeClosed], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._file, self._path, self._slots = file, file.path, tuple(slots)
        self._book, self._put, self._clock = book, put, clock
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unreadable, self._ambiguous = LogOnce(), LogOnce()

    async def run(self) -> None:
        """Read the file, then everything that is appended, until cancelled."""
        self._loop = asyncio.get_running_loop()
        observer = Observer()
        observer.start()
        watching = False
        try:
            while True:
                # If the system has no notifications, the file is only read less often.
                with contextlib.suppress(OSError):
                    if not watching and self._path.parent.is_dir():
                        await asyncio.to_thread(observer.schedule, self, str(self._path.parent))
                        watching = True
                await self._read()
                await self._wait()
        finally:
            observer.stop()
            self._file.close()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the reader; watchdog calls this from its own thread."""
        ours = str(self._path) in {event.src_path, event.dest_path}
        if ours and event.event_type not in {"opened", "closed_no_write"} and self._loop:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
                self._loop.call_soon_threadsafe(self._changed.set)

    async def _read(self) -> None:
        self._changed.clear()
        try:
            while trades := await asyncio.to_thread(self._file.new):
                for trade in trades:
                    await self._take(trade)
        except OSError as e:
            if self._unreadable.begins():
                log.warning(
                    "trades.unreadable", file=str(self._path), why=str(e), remedy=_UNREADABLE
                )
        else:
            self._unreadable.ends()

    async def _take(self, trade: FileTrade) -> None:
        slot = self._slot(trade)
        if slot is None or trade.closed_ms < self._book.oldest_ms:
            return
        if closed := self._book.closed(slot, trade):
            await self._put(slot, closed)

    def _slot(self, trade: FileTrade) -> SlotName | None:
        """Return the slot of a trade, None if it is not one of `slots`."""
        if trade.slot:
            return next((slot for slot in self._slots if str(slot) == trade.slot), None)
        ours = [slot for slot in self._slots if not trade.coin or slot.coin == trade.coin]
        if len(ours) > 1 and self._ambiguous.begins():
            remedy = 'write a column "slot" (BTC-5m) or "coin", or name it in [trades.columns]'
            log.warning(
                "trades.whose", file=str(self._path), may_be=list(map(str, ours)), remedy=remedy
            )
        return ours[0] if len(ours) == 1 else None

    async def _wait(self) -> None:
        """Wait for a change of the file, at most `POLL_S` seconds."""
        async with running(self._look_in_time(), "trades-poll"):
            await self._changed.wait()

    async def _look_in_time(self) -> None:
        await self._clock.sleep(POLL_S)
        self._changed.set()


def _journalled(store: Store, slot: SlotName, since_ms: int) -> list[tuple[str, int]]:
    entries = store.journal(slot, kinds=[event_codec.kind(TradeClosed)], since_ms=since_ms)
    return [(str(entry.body["trade_id"]), entry.at_ms) for entry in entries]
