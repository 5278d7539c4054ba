"""Add up the order flow of two cohorts of addresses, the best and the worst takers, per bar.

The cohorts come from a file, or are learnt: then what each address took is kept as well.
Every public trade names both sides, so one subscription per coin is enough. After a reconnect
the venue repeats the last 30 trades. Repeats are dropped here; older missed trades are lost.
So each bar also has the volume that was seen: if it is too little, the flow is unknown, not 0.
"""

import csv
import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from daemon.core.clock import VenueClock
from daemon.hyperliquid.frames import Trade
from daemon.store import taker_table
from daemon.store.async_store import AsyncStore
from daemon.store.feature_frame import Flow
from daemon.store.store import Store
from daemon.store.taker_table import Takers
from hyperdrift.errors import ConfigError
from hyperdrift.process.home import expanded
from hyperdrift.slot_name import DAY_MS, SlotName

# The venue repeats 30 trades; more are remembered, because pushes of one block may be split.
_REMEMBERED_TRADES: Final = 1024
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")
_COLUMNS: Final = ("address", "cohort")
_REMEDY: Final = 'write a CSV with the columns address,cohort there, or "" for none'
_TOP, _BOTTOM = "top", "bottom"


class Cohorts(NamedTuple):
    """Addresses in lower case."""

    top: frozenset[str]
    bottom: frozenset[str]


class Sums:
    """Signed taker volume of each cohort, and the volume of all trades, base units.

    `takers` has that of each address, where cohorts are learnt.
    """

    __slots__ = ("bottom", "seen", "takers", "top")

    def __init__(self) -> None:
        self.top = self.bottom = self.seen = 0.0
        self.takers: dict[str, float] = {}

    def credit(self, cohorts: Cohorts, taker: str, signed: float) -> None:
        """Add a trade to the taker's cohort; `signed` is in base units, negative if sold."""
        if taker in cohorts.top:
            self.top += signed
        elif taker in cohorts.bottom:
            self.bottom += signed

    def flow(self, t: int) -> Flow:
        """Return the flow of the bar that opened at `t`, ms UTC."""
        return Flow(t, self.top, self.bottom, self.seen)


def read_cohorts(path: Path | str) -> Cohorts:
    """Read a CSV with the columns address and cohort (top or bottom).

    Raises:
        ConfigError: If the file cannot be read, or a line is wrong; the text names the line.
    """
    found: dict[str, str] = {}
    try:
        with expanded(path).open(newline="", encoding="utf-8-sig") as file:
            for number, address, cohort in _lines(path, file):
                fault = _fault(address, cohort, found.get(address))
                if fault is not None:
                    raise ConfigError(f"features.cohort_file {path} line {number}: {fault}")
                found[address] = cohort
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise ConfigError(f"features.cohort_file {path}: cannot be read ({why}); {_REMEDY}") from e
    if not found:
        raise ConfigError(f"features.cohort_file {path}: no addresses; write one a line")
    top, bottom = (
        frozenset(a for a, c in found.items() if c == which) for which in (_TOP, _BOTTOM)
    )
    return Cohorts(top, bottom)


class CohortFlow:
    """Adds up trades per bar, and stores each bar's flow before the bar is scored.

    Args:
        cohorts: The addresses whose trades count; None if they are learnt and in the store.
        slots: The slots; all slots of a coin share its trades.
        store: Takes the flow.
        venue: The venue's clock, which tells which bar is forming.
        keep_ms: For how long it is kept what addresses took, if cohorts are learnt.
    """

    def __init__(
        self,
        cohorts: Cohorts | None,
        slots: Collection[SlotName],
        store: AsyncStore,
        venue: VenueClock,
        keep_ms: int = 0,
    ) -> None:
        self._cohorts, self._store, self._venue = cohorts, store, venue
        self._keep_ms = keep_ms
        self._slots: defaultdict[str, list[SlotName]] = defaultdict(list)
        for slot in slots:
            self._slots[slot.coin].append(slot)
        self._recent: defaultdict[str, deque[tuple[int, int]]] = defaultdict(
            lambda: deque(maxlen=_REMEMBERED_TRADES)
        )
        self._known: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        self._first: dict[SlotName, int] = {}
        self._sums: defaultdict[SlotName, dict[int, Sums]] = defaultdict(dict)

    @property
    def coins(self) -> frozenset[str]:
        """Coins whose trades are needed."""
        return frozenset(self._slots)

    async def begin(self) -> None:
        """Store as unknown the flow since the last run; call it before a bar is scored."""
        for slot in [slot for slots in self._slots.values() for slot in slots]:
            await self._begin(slot)

    async def add(self, slot: SlotName, keep_ms: int) -> None:
        """Add up the flow of one more slot; call it before a bar of it is scored.

        Args:
            slot: The slot.
            keep_ms: For how long it is kept what addresses took, from now on.
        """
        self._keep_ms = keep_ms
        await self._begin(slot)
        self._slots[slot.coin].append(slot)

    def remove(self, slot: SlotName) -> None:
        """Add up the flow of a slot no longer."""
        self._slots[slot.coin].remove(slot)
        if not self._slots[slot.coin]:
            for of_coin in (self._slots, self._recent, self._known):
                of_coin.pop(slot.coin, None)
        self._first.pop(slot, None)
        self._sums.pop(slot, None)

    async def _begin(self, slot: SlotName) -> None:
        step = slot.interval_ms
        forming = self._venue.now_ms() // step * step
        newest = await self._store.call(Store.newest_flow_t, slot)
        start = forming if newest is None else newest + step
        unknown = [Sums().flow(t) for t in range(start, forming + step, step)]
        await self._store.call(Store.put_flow, slot, unknown)
        self._first[slot] = forming

    def take(self, trade: Trade) -> None:
        """Count a trade, unless it was counted before."""
        if trade.coin not in self._slots:
            return
        key = (trade.time, trade.tid)
        known, recent = self._known[trade.coin], self._recent[trade.coin]
        is_ahead = trade.time > self._venue.now_ms() + DAY_MS  # its bar would never be settled
        if key in known or is_ahead:
            return
        if len(recent) == recent.maxlen:
            known.discard(recent.popleft())
        recent.append(key)
        known.add(key)
        for slot in self._slots[trade.coin]:
            t = trade.time // slot.interval_ms * slot.interval_ms
            if t >= self._first.get(slot, t):
                sums = self._sums[slot].setdefault(t, Sums())
                sums.seen += trade.size
                if self._cohorts is not None:
                    sums.credit(self._cohorts, trade.taker, trade.signed)
                elif _ADDRESS.fullmatch(trade.taker):
                    sums.takers[trade.taker] = sums.takers.get(trade.taker, 0.0) + trade.signed

    async def settle(self, slot: SlotName, t: int) -> None:
        """Store the flow of the closed bar that opened at `t` (ms UTC), and of bars before it."""
        sums = self._sums[slot]
        if t >= self._first.get(slot, t):
            sums.setdefault(t, Sums())  # no trade was seen: the flow is 0 if the volume is 0
        due = {at: sums[at] for at in sorted(sums) if at <= t}
        if self._cohorts is None:
            # Trades may come while the store's thread works: it has a copy.
            kept = {at: taker_table.largest(bar.takers) for at, bar in due.items()}
            for at, split in (
                await self._store.call(_put_takers, slot, kept, self._keep_ms)
            ).items():
                due[at].top, due[at].bottom = split
        flows = [bar.flow(at) for at, bar in due.items()]
        await self._store.call(Store.put_flow, slot, flows)
        for at in due:
            if at < t:  # a late trade may still belong to the newest bar
                del sums[at]
        self._first[slot] = max(t, self._first.get(slot, t))


def _put_takers(
    store: Store, slot: SlotName, kept: Mapping[int, Takers], keep_ms: int
) -> dict[int, tuple[float, float]]:
    """Store the largest takers of bars; return their sums by the cohorts that are in force.

    The others count for no cohort, so that the flow can be summed up again from what is kept.
    """
    taker_table.put(store.database, slot, kept, keep_ms)
    return {
        t: taker_table.list_in_force(store.database, slot, t).split(takers)
        for t, takers in kept.items()
    }


def _lines(path: Path | str, file: Iterator[str]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, address and cohort."""
    reader = csv.DictReader(file, skipinitialspace=True)
    names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    if not set(_COLUMNS) <= set(names):
        msg = f"features.cohort_file {path} line 1: write the column names address,cohort"
        raise ConfigError(msg)
    reader.fieldnames = names
    for row in reader:
        address, cohort = ((row[name] or "").strip().lower() for name in _COLUMNS)
        yield reader.line_num, address, cohort


def _fault(address: str, cohort: str, before: str | None) -> str | None:
    if not _ADDRESS.fullmatch(address):
        return f"{address!r} is no address; write 0x and 40 hexadecimal digits"
    if cohort not in {_TOP, _BOTTOM}:
        return f"cohort {cohort!r}; write top or bottom"
    if before not in {None, cohort}:
        return f"{address} is in both cohorts; keep one of its lines"
    return None
