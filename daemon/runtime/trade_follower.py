"""Follow the file of trades: read it while it grows, and put each new trade into its slot's inbox.

The file is read in a thread, piece by piece, so that years of trades delay no bar.
"""

import asyncio
import contextlib
import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final

import msgspec
import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from daemon.core.coin_names import slots_meant
from daemon.core.log_once import LogOnce
from daemon.core.outside_text import printable
from daemon.core.tasks import running
from daemon.runtime.trades import TradeBook, check_whole
from daemon.store import journal_table
from daemon.store.async_store import AsyncStore
from daemon.store.journal_kinds import TRADE_HEADER
from daemon.store.store import Store
from daemon.trade_files.closed_trade import BadTrade, FileTrade
from daemon.trade_files.csv_rows import Header
from daemon.trade_files.trade_file import TradeFile
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName
from monitor.events import TradeClosed

log = structlog.get_logger()

# Seconds between reads on systems without file notifications, such as a network share.
POLL_S: Final = 10.0
# After so many trades other tasks may run.
_AT_ONCE: Final = 100
_UNREADABLE: Final = (
    "let the daemon's user read the file and its folder (a service sees no home folders); until "
    "then none of its trades count"
)
# What inotify answers if there are too many instances, or too many watches.
_LIMITS: Final = {errno.EMFILE, errno.ENOSPC}
_UNWATCHED: Final = (
    f"the file is read every {POLL_S:g} s instead; raise the limit of inotify: "
    "`sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288`"
)
_WHOSE: Final = (
    "add [[slots]] for a coin that you trade with a model; of two slots of one coin tell by a "
    'column "slot" (BTC-5m) or "interval", or name it in [trades.columns]'
)
Owned = list[tuple[SlotName, FileTrade]]


class TradeSorter:
    """Says which slot a trade of a file belongs to, and counts those of none.

    Args:
        slots: The slots there are.
        book: Counts them, and knows which trades are too old, or were taken.
        file: The file.
    """

    def __init__(self, slots: Collection[SlotName], book: TradeBook, file: Path) -> None:
        self._slots, self._book, self._file = tuple(slots), book, file
        self._of_none: Counter[str] = Counter()
        self._counted: dict[tuple[SlotName, str], int] = {}  # and when it closed, ms UTC
        self._told: set[str] = set()

    def owned(self, trades: list[FileTrade]) -> Owned:
        """Return the trades that count, each with its slot."""
        found, counts = [], self._book.in_file
        for trade in trades:
            meant = slots_meant(
                self._slots, coin=trade.coin, interval=trade.interval, slot=trade.slot
            )
            if len(meant) != 1:
                self._of_none[counts.no_slot.add(self._called(trade, meant))] += 1
            elif trade.closed_ms < self._book.oldest_ms:
                counts.old += 1
            elif self._is_whole(meant[0], trade):
                found.append((meant[0], trade))
        counts.taken = len(self._counted)
        return found

    def _is_whole(self, slot: SlotName, trade: FileTrade) -> bool:
        """Return whether a trade is new, or the same as one of its id: a file is read anew."""
        first_ms = self._book.first_close(slot, trade.trade_id) or trade.closed_ms
        first_ms = self._counted.setdefault((slot, trade.trade_id), first_ms)
        try:
            check_whole(trade, first_ms)
        except BadTrade as e:
            self._book.in_file.refuse(f"{slot} {trade.trade_id}", e, self._file)
            return False
        return True

    def tell(self) -> None:
        """Log in one line the trades that belong to no slot, if there are new names."""
        if self._of_none.keys() - self._told:
            self._told |= self._of_none.keys()
            log.warning(
                "trades.no_slot",
                file=str(self._file),
                trades=self._of_none.total(),
                of=dict(self._of_none),
                slots=list(map(str, self._slots)),
                remedy=_WHOSE,
            )
        self._of_none.clear()

    def _called(self, trade: FileTrade, meant: list[SlotName]) -> str:
        """Return what a trade of no slot is called in the counts."""
        if meant:
            coin = printable(trade.coin or "trades", 20)
            return f"{coin} ({' or '.join(map(str, meant[:3]))}: which?)"
        whose = trade.slot or trade.coin
        by_coin = slots_meant(self._slots, coin=trade.coin) if trade.interval else ()
        return f"{whose} at {trade.interval}" if by_coin else whose or "no coin"


class TradeFollower(FileSystemEventHandler):
    """Reads the file of trades while it grows and puts each new trade into its slot's inbox.

    Args:
        file: The file.
        slots: The slots that its trades may belong to.
        book: Knows which trades were taken.
        put: Hands a trade to its slot.
        clock: Times the waits between reads.
        store: Remembers the header of a CSV file, for when a rotation loses it.
    """

    def __init__(
        self,
        file: TradeFile,
        *,
        slots: Collection[SlotName],
        book: TradeBook,
        put: Callable[[SlotName, TradeClosed], Awaitable[None]],
        clock: Clock,
        store: AsyncStore,
    ) -> None:
        self._file, self._path, self._slots = file, file.path, tuple(slots)
        self._book, self._put, self._clock, self._store = book, put, clock, store
        self._sorter = TradeSorter(slots, book, file.path)
        self._changed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unreadable, self._unnoticed = LogOnce(), LogOnce()
        self._kept: Header | None = None
        self._observer: BaseObserver | None = None

    async def run(self) -> None:
        """Read the file, then everything that is appended, until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._file.header = self._kept = await self._store.call(
            _header, self._slots, str(self._path)
        )
        watching = False
        try:
            while True:
                watching = watching or await self._watch()
                await self._read()
                await self._wait()
        finally:
            if self._observer is not None:
                self._observer.stop()
            self._file.close()

    async def _watch(self) -> bool:
        """Ask for notifications of the file's folder; without, it is only read less often."""
        try:
            if not self._path.parent.is_dir():
                return False
            if self._observer is None:
                self._observer = await asyncio.to_thread(_observer)
            await asyncio.to_thread(self._observer.schedule, self, str(self._path.parent))
        except OSError as e:
            if e.errno in _LIMITS and self._unnoticed.begins():
                log.warning(
                    "trades.not_watched", file=str(self._path), why=str(e), remedy=_UNWATCHED
                )
            return False
        return True

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the reader; watchdog calls this from its own thread."""
        # SQLite writes into a log beside its file first.
        names = {str(self._path), f"{self._path}-wal"}
        ours = not names.isdisjoint({event.src_path, event.dest_path})
        if ours and event.event_type not in {"opened", "closed_no_write"} and self._loop:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
                self._loop.call_soon_threadsafe(self._changed.set)

    async def _read(self) -> None:
        self._changed.clear()
        counts = self._file.counts
        try:
            while (trades := await asyncio.to_thread(self._next)) is not None:
                for i, (slot, trade) in enumerate(trades):
                    if closed := self._book.closed(slot, trade):
                        await self._put(slot, closed)
                    if i % _AT_ONCE == 0:
                        await self._clock.sleep(0)
        except OSError as e:
            why = printable(str(e), 200)
            counts.trouble = f"{why}: {_UNREADABLE}"
            if self._unreadable.begins():
                log.warning("trades.unreadable", file=str(self._path), why=why, remedy=_UNREADABLE)
        else:
            self._unreadable.ends()
            counts.trouble = "" if counts.trouble.endswith(_UNREADABLE) else counts.trouble
            self._sorter.tell()
            await self._keep_header()

    def _next(self) -> Owned | None:
        trades = self._file.new()
        return None if trades is None else self._sorter.owned(trades)

    async def _keep_header(self) -> None:
        header = self._file.header
        if header is None or header == self._kept:
            return
        self._kept = header
        body = {"file": str(self._path), "names": list(header.names), "delimiter": header.delimiter}
        now_ms = self._clock.now_ms()
        await self._store.call(Store.append_journal, self._slots[0], now_ms, TRADE_HEADER, body)

    async def _wait(self) -> None:
        """Wait for a change of the file, at most `POLL_S` seconds."""
        async with running(self._look_in_time(), "trades-poll"):
            await self._changed.wait()

    async def _look_in_time(self) -> None:
        await self._clock.sleep(POLL_S)
        self._changed.set()


def _observer() -> BaseObserver:
    observer = Observer()  # it may be refused too, for want of an inotify instance
    observer.start()
    return observer


class _KeptHeader(msgspec.Struct):
    file: str
    names: tuple[str, ...]
    delimiter: str


def _header(store: Store, slots: Collection[SlotName], file: str) -> Header | None:
    """Return the newest header that was journalled for a file."""
    entries = (journal_table.newest(store.database, slot, TRADE_HEADER) for slot in slots)
    for entry in sorted((e for e in entries if e is not None), key=lambda e: -e.seq):
        with contextlib.suppress(msgspec.ValidationError):
            kept = msgspec.convert(entry.body, _KeptHeader)
            if kept.file == file:
                return Header(kept.names, kept.delimiter)
    return None
