"""Show what an import would read, and how it would meet the stored bars, without writing."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from daemon.core.times import utc
from daemon.ingest.stored_stamps import require_open_stamps
from daemon.ingest.tables.bar_tables import TableOfBars, read_bars
from daemon.ingest.tables.funding_tables import TableOfFunding, read_funding
from daemon.ingest.tables.reading import OnBytes, TableReport, Wanted
from daemon.ingest.venue_archive import is_archive
from daemon.store.bar_columns import Overlap
from daemon.store.data_folder import STORE_NAME, open_store
from daemon.store.imported.rates import Rates
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

_NONE_STORED: Final = Overlap()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a file holds.

    Attributes:
        file: Its name.
        kind: `bars` or `funding`.
        coin: Whose they are.
        interval: Length of the bars; "" for rates.
        count: Bars or rates.
        first_ms: Open time of the first bar, or time of the first rate, ms UTC.
        last_ms: The same of the last one.
        rows: Rows of the file.
        left_out: Rows that are left out.
        why: Why they are.
        reasons: How many rows each reason leaves out.
        notes: What was judged.
        overlap: Comparison with what is stored, in bars or rates.
    """

    file: str
    kind: str
    coin: str
    interval: str
    count: int
    first_ms: int
    last_ms: int
    rows: int
    left_out: int
    why: str
    reasons: dict[str, int]
    notes: tuple[str, ...]
    overlap: Overlap = _NONE_STORED

    def __str__(self) -> str:
        """Return the preview as a line."""
        what = f"bars of {self.coin}-{self.interval}" if self.interval else f"rates of {self.coin}"
        text = (
            f"{self.file}: {self.count} {what} in {self.rows} rows, "
            f"{utc(self.first_ms)} to {utc(self.last_ms)} UTC; "
            f"{self.overlap.equal} are stored already, {self.overlap.differ} differ from the stored"
        )
        if self.overlap.largest is not None:
            text += f", most {self.overlap.largest}"
        text += f"; {self.left_out} rows left out, {self.why}" if self.left_out else ""
        return f"{text}; nothing was written"

    def document(self) -> dict[str, Any]:
        """Return the preview for JSON."""
        return asdict(self)


def preview(
    data_dir: Path,
    slot: SlotName,
    files: Sequence[Path],
    kind: str,
    *,
    now_ms: int,
    wanted: Wanted,
    on_bytes: OnBytes = lambda _: None,
) -> Iterator[Preview]:
    """Read files as an import would, and yield what each holds.

    Args:
        data_dir: The data folder; it may have no store yet.
        slot: The slot of the bars; rates belong to its coin.
        files: The files.
        kind: `bars` or `funding`.
        now_ms: What has not closed or settled by this time, ms UTC, is left out.
        wanted: What a person says of the files.
        on_bytes: Called with the number of bytes read since its last call.

    Raises:
        BadInput: If a file cannot be read as `kind`, or `kind` is neither of the two.
    """
    if kind not in {"bars", "funding"}:
        raise BadInput(f"--kind {kind!r} is not bars or funding")
    wanted = replace(wanted, coin=slot.coin, interval_ms=slot.interval_ms, now_ms=now_ms)
    for path in files:
        if is_archive(path):
            raise BadInput(f"{path} is a file of the venue's archive: --dry-run cannot show those")
        if kind == "bars":
            table = read_bars(path, wanted, on_bytes)
            seen = _seen(path, slot, kind, table.bars.t.tolist(), table.report)
            yield replace(seen, overlap=_bars_overlap(data_dir, slot, table, path, wanted))
        else:
            rates = read_funding(path, wanted, on_bytes)
            seen = _seen(path, slot, kind, rates.time.tolist(), rates.report)
            yield replace(seen, overlap=_rates_overlap(data_dir, slot, rates))


def _seen(path: Path, slot: SlotName, kind: str, t: list[int], report: TableReport) -> Preview:
    return Preview(
        file=path.name,
        kind=kind,
        coin=slot.coin,
        interval=slot.interval if kind == "bars" else "",
        count=len(t),
        first_ms=t[0],
        last_ms=t[-1],
        rows=report.rows,
        left_out=report.lost,
        why=report.why(),
        reasons=dict(report.left_out),
        notes=report.notes,
    )


def _bars_overlap(
    data_dir: Path, slot: SlotName, table: TableOfBars, path: Path, wanted: Wanted
) -> Overlap:
    if not (data_dir / STORE_NAME).exists():
        return _NONE_STORED
    with open_store(data_dir, read_only=True) as store:
        if not wanted.stamp:
            require_open_stamps(store, slot, table.bars, path)
        return store.imports.outlook(slot, table.bars)[1]


def _rates_overlap(data_dir: Path, slot: SlotName, table: TableOfFunding) -> Overlap:
    if not (data_dir / STORE_NAME).exists():
        return _NONE_STORED
    with open_store(data_dir, read_only=True) as store:
        counts = store.imports.funding_outlook(slot.coin, Rates(table.time, table.rate))
    return Overlap(counts.same, counts.revised + counts.conflicts)
