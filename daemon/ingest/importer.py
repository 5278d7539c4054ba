"""Import files into the store, and report how many rows were added, kept and left out.

If a bar of a file is stored already, the two are compared; the largest difference is
reported. A file never replaces a bar of record.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from daemon.core.bars import Bar, Provenance
from daemon.core.times import utc
from daemon.ingest.tables.bar_tables import read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import Wanted
from daemon.ingest.venue_archive import SUFFIX, read_archive
from daemon.market_data.order_flow import Cohorts
from daemon.store.bar_merge import Stored
from daemon.store.data_folder import open_store
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName
from retrain import labels

_HORIZONS = (1, 4, 12, 24, 48)
_THRESHOLDS = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025)
_EXAMPLES: Final = 3
_COLUMNS: Final = ("open", "high", "low", "close", "volume")

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference between two copies of a bar; `relative` is a fraction.

    `t` is the open time of the bar, ms UTC.
    """

    t: int
    column: str
    stored: float
    other: float
    relative: float

    def __str__(self) -> str:
        what = f"{self.column} of {utc(self.t)}"
        return f"{what}: stored {self.stored:g}, here {self.other:g} ({self.relative:.2%})"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Comparison of stored bars with the same bars of another source, in bars."""

    equal: int
    differ: int
    largest: Difference | None
    examples: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class BarsReport:
    """Counts of the bars of a file; the store has the `kept` bars from a better source.

    `reasons` has the rows that were left out by reason, `notes` what was judged of the file.
    """

    file: str
    added: int
    revised: int
    kept: int
    overlap: Overlap
    left_out: int
    why: str
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report as one or two lines."""
        over = self.overlap
        text = f"{self.file}: {self.added} bars added, {over.equal} already there"
        if over.differ:
            text += (
                f", {over.differ} differ from what is stored: {self.revised} replaced (pushed, "
                f"filled in, or imported with less volume), {self.kept} kept as they were; "
                f"the largest difference is {over.largest}"
            )
        return text + (f"; {self.left_out} rows left out, {self.why}" if self.left_out else "")

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"kind": "bars", **asdict(self)}


@dataclass(frozen=True, slots=True)
class FundingReport:
    """Counts of the funding rates of a file; `kept` rates differ, and the stored ones stay."""

    file: str
    added: int
    equal: int
    kept: int
    left_out: int
    why: str
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report as one line."""
        text = f"{self.file}: {self.added} rates added, {self.equal} already there"
        if self.kept:
            text += f", {self.kept} differ from what is stored and were not taken"
        return text + (f"; {self.left_out} rows left out, {self.why}" if self.left_out else "")

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"kind": "funding", **asdict(self)}


Report = BarsReport | FundingReport


def import_files(
    store: Store,
    slot: SlotName,
    files: Sequence[Path],
    kind: str = "bars",
    *,
    now_ms: int,
    wanted: Wanted | None = None,
    cohorts: Cohorts | None = None,
    on_bytes: OnBytes = lambda _: None,
) -> Iterator[Report]:
    """Import `bars` or `funding` from files, and yield a report on each; a faulty file adds none.

    Archive files (`.lz4`) are read together, because a bar may begin in one and end in the next.

    Args:
        store: Takes the bars or rates.
        slot: The slot of the bars; funding rates belong to its coin.
        files: The files, in any order.
        kind: `bars` or `funding`.
        now_ms: Bars that have not closed by this time, ms UTC, are left out.
        wanted: What a person says of the columns, times and rates of the files.
        cohorts: The cohorts whose order flow is summed up from archive files.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If a file cannot be read as `kind`, or `kind` is neither of the two.
    """
    if kind not in {"bars", "funding"}:
        raise BadInput(f"--kind {kind!r} is not bars or funding")
    wanted = replace(
        wanted or Wanted(), coin=slot.coin, interval_ms=slot.interval_ms, now_ms=now_ms
    )
    archives = [path for path in files if path.suffix == SUFFIX]
    if archives and kind == "funding":
        raise BadInput(f"{archives[0]} holds trades, not funding: leave out --kind")
    if archives:
        yield _import_archive(store, slot, archives, cohorts, on_bytes)
    for path in files:
        if path.suffix != SUFFIX:
            if kind == "bars":
                yield _import_bars(store, slot, path, wanted, on_bytes)
            else:
                yield _import_funding(store, slot, path, wanted, on_bytes)


def compare(held: Iterable[Stored], bars: Iterable[Bar]) -> Overlap:
    """Compare bars with the stored bars of the same open times."""
    stored = {copy.bar.t: copy.bar for copy in held}
    equal, found = 0, []
    for bar in bars:
        if (before := stored.get(bar.t)) is None:
            continue
        difference = _difference(before, bar)
        equal += difference is None
        if difference is not None:
            found.append(difference)
    largest = max(found, key=lambda d: d.relative, default=None)
    return Overlap(equal, len(found), largest, tuple(found[:_EXAMPLES]))


def label_table(data_dir: Path, slot: SlotName) -> str:
    """Return the class shares of the stored bars for several horizons and thresholds.

    Raises:
        BadInput: If there are too few bars.
    """
    with open_store(data_dir, read_only=True) as store:
        close = store.bars(slot)["close"]
    if len(close) <= max(_HORIZONS):
        raise BadInput(f"{slot} has {len(close)} bars stored; import some or run the daemon first")
    return labels.format_table(labels.table(close, _HORIZONS, _THRESHOLDS))


def _import_bars(
    store: Store, slot: SlotName, path: Path, wanted: Wanted, on_bytes: OnBytes
) -> BarsReport:
    table = read_bars(path, wanted, on_bytes)
    told = table.report
    report = _put(store, slot, path.name, table.bars(), left_out=told.lost, why=told.why())
    return replace(report, reasons=told.left_out, notes=told.notes)


def _import_archive(
    store: Store,
    slot: SlotName,
    paths: Sequence[Path],
    cohorts: Cohorts | None,
    on_bytes: OnBytes,
) -> BarsReport:
    found = read_archive(paths, slot, cohorts, on_bytes)
    name = paths[0].name if len(paths) == 1 else f"{len(paths)} archive files"
    why = "bars that the files do not hold from end to end"
    name = f"{name} ({found.trades} trades)"
    report = _put(store, slot, name, found.bars, left_out=found.partial, why=why)
    store.put_flow(slot, found.flows)
    return report


def _put(
    store: Store, slot: SlotName, name: str, bars: list[Bar], *, left_out: int, why: str
) -> BarsReport:
    held = store.held(slot, bars[0].t, bars[-1].t) if bars else []
    overlap = compare(held, bars)
    result = store.put_bars(slot, bars, Provenance.IMPORT)
    return BarsReport(name, result.added, result.revised, result.conflicts, overlap, left_out, why)


def _import_funding(
    store: Store, slot: SlotName, path: Path, wanted: Wanted, on_bytes: OnBytes
) -> FundingReport:
    table = read_funding(path, wanted, on_bytes)
    rates = table.rates()
    known = dict(store.funding(slot.coin, rates[0].time, rates[-1].time))
    new = [rate for rate in rates if rate.time not in known]
    equal = sum(known.get(rate.time) == rate.rate for rate in rates)
    store.put_funding(slot.coin, new)
    kept = len(rates) - len(new) - equal
    told = table.report
    counts = (len(new), equal, kept, told.lost, told.why(), told.left_out, told.notes)
    return FundingReport(path.name, *counts)


def _difference(stored: Bar, other: Bar) -> Difference | None:
    """Return the column in which two copies of a bar differ most; None if they are equal."""
    worst: Difference | None = None
    for name in _COLUMNS:
        before, now = getattr(stored, name), getattr(other, name)
        relative = abs(now - before) / before if before else float(now != before)
        if now != before and (worst is None or relative > worst.relative):
            worst = Difference(stored.t, name, before, now, relative)
    return worst
