"""Read the newest bars of one slot at every close, and fetch only those that are new.

A decision needs hundreds of bars, and had all but one of them for the decision before. Of those it
asks the table for their number and their sums only, in one step. Numbers of a row cost more than
that, and between two rows other threads may take the interpreter.
"""

from typing import Final

import numpy as np

from daemon.store.database import Database
from daemon.store.feature_frame import Columns
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

# A trade that the venue moves to the next bar leaves the sum of the volumes as it was, but both
# bars count as revised. What an import changes has another source.
_SUMS: Final = (
    "SELECT count(*), sum(t), sum(revisions), sum(source),"
    " total(open), total(high), total(low), total(close), total(volume) FROM bars"
    " WHERE coin = ? AND interval = ? AND t BETWEEN ? AND ?"
)


class RecentBars:
    """The newest bars of one slot.

    Any bar may change at any time, also by another process. Then the sums differ, and all bars
    are read again.

    Args:
        slot: The slot.
        last: How many bars are read.

    Attributes:
        slot: The slot.
    """

    def __init__(self, slot: SlotName, last: int) -> None:
        self.slot, self._last = slot, last
        self._bars: Columns | None = None
        self._sums: tuple[float, ...] = ()

    def frame(self, store: Store, to_t: int) -> Columns:
        """Return what `store.frame(slot, last, to_t=to_t)` returns; call it on one thread.

        Args:
            store: Has the bars.
            to_t: Open time of the last bar, ms UTC, inclusive.

        Returns:
            The same columns, each of shape (n_bars,).
        """
        kept, self._bars = self._bars, None  # a failure leaves nothing
        with store.database.reading():
            bars = self._extended(store, kept, to_t) if kept else None
            if bars is None:
                bars = store.bars(self.slot, to_t=to_t, last=self._last)
            if len(bars["t"]) == self._last:  # of fewer, older ones may come
                self._sums, self._bars = self._sums_of(store.database, bars), bars
            return store.frame_of(self.slot, bars)

    def _extended(self, store: Store, kept: Columns, to_t: int) -> Columns | None:
        """Return the bars up to `to_t`; None if those that were kept are no help."""
        newest = int(kept["t"][-1])
        if to_t < newest or self._sums_of(store.database, kept) != self._sums:
            return None
        new = store.bars(self.slot, newest + 1, to_t)
        return {
            name: np.concatenate([column, new[name]])[-self._last :]
            for name, column in kept.items()
        }

    def _sums_of(self, database: Database, bars: Columns) -> tuple[float, ...]:
        ends = int(bars["t"][0]), int(bars["t"][-1])
        found: tuple[float, ...] = database.read(_SUMS, (*self.slot, *ends))[0]
        return found
