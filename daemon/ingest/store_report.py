"""Report gaps and faults in the stored bars of a slot, and export the bars.

Nothing here writes to the store, so all of it may run while the daemon runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import REACH_BARS, Provenance
from daemon.ingest.table_writer import write_table
from daemon.store.bar_merge import RANK
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

# So many of the newest bars may not be stored yet.
_BEHIND_BARS: Final = 3
_WEAK: Final = {RANK[Provenance.FILLED]: "filled", RANK[Provenance.STREAM]: "pushed"}
_COLUMNS: Final = ("t", "open", "high", "low", "close", "volume", "n", "provenance")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive bars that are missing or not confirmed; `from_t` and `to_t` are in ms UTC."""

    kind: str
    from_t: int
    to_t: int
    bars: int
    remedy: str


def stretches(store: Store, slot: SlotName, now_ms: int) -> list[Stretch]:
    """List missing and unconfirmed stretches, oldest first, each with its remedy.

    The kinds are `missing` (no bar is stored), `filled` (filled bars), `pushed` (bars of the
    stream that REST never confirmed) and `behind` (from the newest bar to now).

    Args:
        store: The store.
        slot: The slot of the bars.
        now_ms: The present time, ms UTC.
    """
    held = store.columns(slot)
    t, step = held.bars.t, slot.interval_ms
    if not len(t):
        return []
    found = [("missing", *hole) for hole in store.missing(slot)]
    for rank, kind in _WEAK.items():
        found += [(kind, *ends) for ends in _runs(t[held.rank == rank], step)]
    newest, closed = int(t[-1]), now_ms // step * step - step
    if closed - newest > _BEHIND_BARS * step:
        found.append(("behind", newest + step, closed))
    reach_t = closed - (REACH_BARS - 1) * step
    return [
        Stretch(kind, first, last, (last - first) // step + 1, _remedy(slot, first, reach_t))
        for kind, first, last in sorted(found, key=lambda row: row[1])
    ]


def _runs(t: NDArray[np.int64], step: int) -> list[tuple[int, int]]:
    """Return the first and the last open time of each run of consecutive bars."""
    cuts = np.flatnonzero(np.diff(t) != step)
    firsts, lasts = t[np.r_[0, cuts + 1]] if len(t) else t, t[np.r_[cuts, -1]] if len(t) else t
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def backfill_command(slot: SlotName) -> str:
    """Return the command that fetches what the venue still serves."""
    return f"hyperdrift backfill --coin {slot.coin} --interval {slot.interval}"


def _remedy(slot: SlotName, from_t: int, reach_t: int) -> str:
    if from_t >= reach_t:
        return backfill_command(slot)
    return "out of the venue's reach: hyperdrift import a file or the venue's archive"


def export(store: Store, slot: SlotName, path: Path) -> int:
    """Write all bars of a slot to a file that `import` reads back exactly; return how many.

    Raises:
        BadInput: If the suffix names no format, no bars are stored, or the file cannot be
            written.
    """
    import pandas as pd  # noqa: PLC0415 - takes 0.4 s, and other commands do not need it

    held = store.columns(slot)
    if not len(held.bars):
        raise BadInput(f"{slot} has no bars stored; hyperdrift import or backfill some")
    names = np.array([p.value for p in RANK])
    columns = (*held.bars.columns(), names[held.rank])
    table = pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))
    write_table(table, path)
    return len(held.bars)
