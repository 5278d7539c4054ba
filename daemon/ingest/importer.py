"""Import files into the store, and report how many rows were added, kept and left out.

If a bar of a file is stored already, the two are compared; the largest difference is
reported. A file never replaces a bar of record, and each report names the command that takes the
import back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from daemon.ingest.stored_stamps import require_open_stamps
from daemon.ingest.tables.bar_tables import read_bars
from daemon.ingest.tables.funding_tables import read_funding
from daemon.ingest.tables.reading import Wanted
from daemon.ingest.taker_volumes import TakerVolumes
from daemon.ingest.venue_archive import is_archive, read_archive
from daemon.market_data.order_flow import Cohorts
from daemon.store import taker_table
from daemon.store.bar_columns import BarColumns, Overlap
from daemon.store.feature_frame import Flow
from daemon.store.imported.forget_command import forget_command
from daemon.store.imported.rates import Rates
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BarsReport:
    """Counts of the bars of a file.

    Attributes:
        file: What was read.
        source: The name of the import, which forgets it.
        undo: The command that takes it back.
        added: Bars that were not stored.
        revised: Stored bars that the file's replace: pushed, filled in, or imported earlier.
        kept: Stored bars of the venue that differ from the file's, and stay.
        overlap: Comparison with all bars that were stored.
        left_out: Rows of the file that were not taken.
        why: Why they were not.
        reasons: How many were left out for each reason.
        notes: What was judged of the file.
    """

    file: str
    source: str
    undo: str
    added: int
    revised: int
    kept: int
    overlap: Overlap
    left_out: int
    why: str
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report as a line."""
        over = self.overlap
        text = f"{self.file}: {self.added} bars added, {over.equal} already there"
        if over.differ:
            text += (
                f", {over.differ} differ from what was stored: {self.revised} replaced (pushed, "
                f"filled in, or of an older import), {self.kept} kept as the venue has them; "
                f"the largest difference is {over.largest}"
            )
        return _finished(text, self.left_out, self.why, self.undo)

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"kind": "bars", **asdict(self)}


@dataclass(frozen=True, slots=True)
class FundingReport:
    """Counts of the funding rates of a file; the attributes are those of `BarsReport`."""

    file: str
    source: str
    undo: str
    added: int
    equal: int
    revised: int
    kept: int
    left_out: int
    why: str
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the report as a line."""
        text = f"{self.file}: {self.added} rates added, {self.equal} already there"
        if self.revised:
            text += f", {self.revised} replaced that an older import has otherwise"
        if self.kept:
            text += f", {self.kept} differ from the venue's and were not taken"
        return _finished(text, self.left_out, self.why, self.undo)

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"kind": "funding", **asdict(self)}


Report = BarsReport | FundingReport


@dataclass(frozen=True, slots=True)
class _Into:
    store: Store
    slot: SlotName
    now_ms: int
    config: Path | None

    def undo(self, kind: str, source: str) -> str:
        return forget_command(self.slot, kind, source, self.config)


def import_files(
    store: Store,
    slot: SlotName,
    files: Sequence[Path],
    kind: str = "bars",
    *,
    now_ms: int,
    wanted: Wanted | None = None,
    cohorts: Cohorts | None = None,
    keep_takers_ms: int = 0,
    config: Path | None = None,
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
        keep_takers_ms: For how long it is kept what addresses took, 0 if cohorts are not learnt.
        config: The configuration that was named, for the command that takes an import back.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If a file cannot be read as `kind`, or `kind` is neither of the two.
    """
    if kind not in {"bars", "funding"}:
        raise BadInput(f"--kind {kind!r} is not bars or funding")
    into = _Into(store, slot, now_ms, config)
    wanted = replace(
        wanted or Wanted(), coin=slot.coin, interval_ms=slot.interval_ms, now_ms=now_ms
    )
    archives = [path for path in files if is_archive(path)]
    if archives and kind == "funding":
        raise BadInput(f"{archives[0]} holds trades, not funding: leave out --kind")
    if archives:
        yield _import_archive(into, archives, cohorts, keep_takers_ms, on_bytes)
    for path in files:
        if not is_archive(path):
            if kind == "bars":
                yield _import_bars(into, path, wanted, on_bytes)
            else:
                yield _import_funding(into, path, wanted, on_bytes)


def _import_bars(into: _Into, path: Path, wanted: Wanted, on_bytes: OnBytes) -> BarsReport:
    table = read_bars(path, wanted, on_bytes)
    told = table.report
    if not wanted.stamp:
        require_open_stamps(into.store, into.slot, table.bars, path)
    report = _put(into, path.name, table.bars, left_out=told.lost, why=told.why())
    return replace(report, reasons=told.left_out, notes=told.notes)


def _keep_takers(into: _Into, volumes: TakerVolumes, whole: set[int], keep_ms: int) -> None:
    """Keep what addresses took in whole bars, so that cohorts can be learnt from it."""
    for bars in volumes.bars():
        kept = {t: taker_table.largest(takers) for t, takers in bars.items() if t in whole}
        taker_table.put(into.store.database, into.slot, kept, keep_ms)


def _import_archive(
    into: _Into, paths: Sequence[Path], cohorts: Cohorts | None, keep_ms: int, on_bytes: OnBytes
) -> BarsReport:
    volumes = TakerVolumes(into.slot.interval_ms)
    if keep_ms:
        cohorts = Cohorts(frozenset(), frozenset())  # those in force are learnt later
        found = read_archive(paths, into.slot, cohorts, on_bytes, volumes.add)
    else:
        found = read_archive(paths, into.slot, cohorts, on_bytes)
    name = paths[0].name if len(paths) == 1 else f"{paths[0].name}..{paths[-1].name}"
    read = paths[0].name if len(paths) == 1 else f"{len(paths)} archive files"
    if not found.bars:
        raise BadInput(
            f"{read} ({found.trades} trades of {into.slot.coin}) gives no whole bar: "
            f"{found.partial} are not there from end to end; give the files before and after too"
        )
    report = _put(
        into,
        name,
        BarColumns.of(found.bars),
        left_out=found.partial,
        why="bars that the files do not hold from end to end",
        flows=found.flows,
    )
    _keep_takers(into, volumes, {bar.t for bar in found.bars}, keep_ms)
    return replace(report, file=f"{read} ({found.trades} trades)")


def _put(
    into: _Into,
    name: str,
    bars: BarColumns,
    *,
    left_out: int,
    why: str,
    flows: Sequence[Flow] = (),
) -> BarsReport:
    done = into.store.imports.put_bars(into.slot, bars, name, into.now_ms, flows=flows)
    counts = done.counts
    return BarsReport(
        file=name,
        source=done.name,
        undo=into.undo("bars", done.name) if len(bars) else "",
        added=counts.added,
        revised=counts.revised,
        kept=counts.conflicts,
        overlap=done.overlap,
        left_out=left_out,
        why=why,
    )


def _import_funding(into: _Into, path: Path, wanted: Wanted, on_bytes: OnBytes) -> FundingReport:
    table = read_funding(path, wanted, on_bytes)
    rates = Rates(table.time, table.rate)
    done = into.store.imports.put_funding(into.slot.coin, rates, path.name, into.now_ms)
    counts = done.counts
    return FundingReport(
        file=path.name,
        source=done.name,
        undo=into.undo("funding", done.name),
        added=counts.added,
        equal=counts.same,
        revised=counts.revised,
        kept=counts.conflicts,
        left_out=table.report.lost,
        why=table.report.why(),
        reasons=table.report.left_out,
        notes=table.report.notes,
    )


def _finished(text: str, left_out: int, why: str, undo: str) -> str:
    text += f"; {left_out} rows left out, {why}" if left_out else ""
    return f"{text}; to take it back: {undo}" if undo else text
