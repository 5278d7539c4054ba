"""Fill the store from files, and look at what is in it, without a running daemon."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from daemon.bars import MINUTE_MS, Provenance, SlotName
from daemon.errors import BadInput
from daemon.store import Store
from daemon.tables import read_bars, read_funding
from retrain import labels

STORE_NAME = "hyperdrift.sqlite"
_HORIZONS = (1, 4, 12, 24, 48)
_THRESHOLDS = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025)


def open_store(data_dir: Path, *, read_only: bool = False) -> Store:
    """Open the store of a data folder.

    Raises:
        BadInput: If `read_only` and there is none yet.
        StoreCorrupt: If it cannot be read.
    """
    if not read_only:
        data_dir.mkdir(parents=True, exist_ok=True)
    return Store(data_dir / STORE_NAME, read_only=read_only)


def import_files(data_dir: Path, slot: SlotName, files: Sequence[Path], kind: str) -> Iterator[str]:
    """Import `bars` or `funding` from each file; yield a sentence about each.

    Raises:
        BadInput: If a file cannot be read as that, or `kind` is neither.
    """
    importers = {"bars": _import_bars, "funding": _import_funding}
    if kind not in importers:
        raise BadInput(f"--kind {kind!r} is not bars or funding")
    with open_store(data_dir) as store:
        for path in files:
            yield importers[kind](store, slot, path)


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


def _import_bars(store: Store, slot: SlotName, path: Path) -> str:
    table = read_bars(path)
    if table.interval_ms != slot.interval_ms:
        minutes = table.interval_ms / MINUTE_MS
        msg = (
            f"{path} has bars {minutes:g} minutes apart; give the interval they have, not {slot}'s"
        )
        raise BadInput(msg)
    result = store.put_bars(slot, table.bars(), Provenance.IMPORT)
    left_out = table.report.bad + table.report.duplicates
    return (
        f"{path.name}: {result.added} bars added, {result.revised} revised, "
        f"{result.same} already there, {result.conflicts} kept as the venue has them, "
        f"{left_out} rows left out"
    )


def _import_funding(store: Store, slot: SlotName, path: Path) -> str:
    table = read_funding(path)
    store.put_funding(slot.coin, table.rates())
    return f"{path.name}: {table.report.kept} rates, {table.report.bad} rows left out"
