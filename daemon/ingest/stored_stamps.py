"""Notice bars that are stamped by their close, by the same bars in the store."""

from pathlib import Path
from typing import Final

import numpy as np

from daemon.store.bar_columns import BarColumns
from daemon.store.feature_frame import Columns
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

_LOOK: Final = 1000  # bars
_ENOUGH: Final = 5
_MOSTLY: Final = 0.9
_PRICES: Final = ("open", "high", "low", "close")


def require_open_stamps(store: Store, slot: SlotName, bars: BarColumns, path: Path) -> None:
    """Raise if bars are the stored ones of one interval earlier.

    Args:
        store: Has bars of the slot, or none.
        slot: The slot of the bars.
        bars: The bars of a file, of which the first and the last are looked at.
        path: The file, for the message.

    Raises:
        BadInput: If nearly all equal the stored bar before their own.
    """
    for part in (bars.part(slice(_LOOK)), bars.part(slice(-_LOOK, None))):
        if not len(part):
            return
        step = slot.interval_ms
        held = store.bars(slot, int(part.t[0]) - step, int(part.t[-1]))
        same, both = _equal(held, part, 0)
        earlier, either = _equal(held, part, step)
        if either >= _ENOUGH and earlier >= _MOSTLY * either and same <= (1 - _MOSTLY) * both:
            raise BadInput(
                f"{path}: its bars are the stored ones of one interval earlier, so they are "
                "stamped by their close: say --stamp close, or --stamp open if they are not"
            )


def _equal(held: Columns, part: BarColumns, shift_ms: int) -> tuple[int, int]:
    """Return how many bars have the prices of the stored ones, and how many are stored."""
    _, there, here = np.intersect1d(
        held["t"], part.t - shift_ms, assume_unique=True, return_indices=True
    )
    same = [held[name][there] == getattr(part, name)[here] for name in _PRICES]
    return int(np.count_nonzero(np.all(same, axis=0))), len(there)
