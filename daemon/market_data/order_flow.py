"""Add up the order flow of two cohorts of addresses, the best and the worst takers, per bar.

Every public trade names both sides, so one subscription per coin is enough. After a reconnect
the venue repeats the last 30 trades. Repeats are dropped here; older missed trades are lost.
So each bar also has the volume that was seen: if it is too little, the flow is unknown, not 0.
"""

import csv
import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from daemon.core.clock import VenueClock
from daemon.hyperliquid.frames import Trade
from daemon.store.async_store import AsyncStore
from daemon.store.feature_frame import Flow
from daemon.store.store import Store
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import DAY_MS, SlotName

# The venue repeats 30 trades; more are remembered, because pushes of one block may be split.
_REMEMBERED_TRADES: Final = 1024
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}")
_COLUMNS: Final = ("address", "cohort")
_TOP, _BOTTOM = "top", "bottom"


class Cohorts(NamedTuple):
    """Addresses in lower case."""

    top: frozenset[str]
    bottom: frozenset[str]


class Sums:
    """Signed taker volume of each cohort, and the volume of all trades, base units."""

    __slots__ = ("bottom", "seen", "top")

    def __init__(self) -> None:
        self.top = self.bottom = self.seen = 0.0

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
        with Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
            for number, address, cohort in _lines(path, file):
                fault = _fault(address, cohort, found.get(address))
                if fault is not None:
                    raise ConfigError(f"features.cohort_file {path} line {number}: {fault}")
                found[address] = cohort
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise ConfigError(f"features.cohort_file {path}: cannot be read ({why})") from e
    if not found:
        raise ConfigError(f"features.cohort_file {path}: no addresses; write one a line")
    top, bottom = (
        frozenset(a for a, c in found.items() if c == which) for which in (_TOP, _BOTTOM)
    )
    return Cohorts(top, bottom)


class CohortFlow:
    """Adds up trades per bar, and stores each bar's flow before the bar is scored.

    Args:
        cohorts: The addresses whose trades count.
        slots: The slots; all slots of a coin share its trades.
        store: Takes the flow.
        venue: The venue's clock, which tells which bar is forming.
    """

    def __init__(
        self, cohorts: Cohorts, slots: Collection[SlotName], store: AsyncStore, venue: VenueClock
    ) -> None:
        self._cohorts, self._store, self._venue = cohorts, store, venue
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
        for slots in self._slots.values():
            for slot in slots:
                step = slot.interval_ms
                forming = self._venue.now_ms() // step * step
                newest = await self._store.call(Store.newest_flow_t, slot)
                start = forming if newest is None else newest + step
                unknown = [Sums().flow(t) for t in range(start, forming + step, step)]
                await self._store.call(Store.put_flow, slot, unknown)
                self._first[slot] = forming

    def take(self, trade: Trade) -> None:
        """Count a trade, unless it was counted before."""
        key = (trade.time, trade.tid)
        known, recent = self._known[trade.coin], self._recent[trade.coin]
        is_ahead = trade.time > self._venue.now_ms() + DAY_MS  # its bar would never be settled
        if key in known or trade.coin not in self._slots or is_ahead:
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
                sums.credit(self._cohorts, trade.taker, trade.signed)

    async def settle(self, slot: SlotName, t: int) -> None:
        """Store the flow of the closed bar that opened at `t` (ms UTC), and of bars before it."""
        sums = self._sums[slot]
        if t >= self._first.get(slot, t):
            sums.setdefault(t, Sums())  # no trade was seen: the flow is 0 if the volume is 0
        due = [sums[at].flow(at) for at in sorted(sums) if at <= t]
        await self._store.call(Store.put_flow, slot, due)
        for flow in due:
            if flow.t < t:  # a late trade may still belong to the newest bar
                del sums[flow.t]
        self._first[slot] = max(t, self._first.get(slot, t))


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
