"""Read funding and cohort flow as they were known at the close of each bar."""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.store.database import Database
from daemon.store.imported import rates as rates_table
from hyperdrift.slot_name import SlotName
from retrain.bar_limits import LARGEST_RATE, LARGEST_VOLUME
from retrain.features import funding_as_of, possible

Columns = dict[str, NDArray[Any]]

ENOUGH_SEEN: Final = 0.95
"""Share of a bar's volume whose trades must have been seen for its flow to be known."""


class Flow(NamedTuple):
    """Signed taker volume of the cohorts in the bar at `t`, and the volume whose trades were seen.

    All in base units.
    """

    t: int
    s_top: float
    s_bot: float
    seen: float


def usable(bars: Columns) -> Columns:
    """Leave out bars whose features cannot be computed; columns have shape (n_bars,)."""
    sound = possible(bars)
    return bars if sound.all() else {name: column[sound] for name, column in bars.items()}


def funding_column(db: Database, slot: SlotName, t: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the rate in force at the close of each bar, shape (n_bars,), NaN before the first."""
    first, final = _ends(t)
    # Begin with the rate that was in force at the first close.
    times, rates = rates_table.rates_from(
        db, slot.coin, first + slot.interval_ms, final + slot.interval_ms
    )
    return funding_as_of(t + slot.interval_ms, times, _within(rates, LARGEST_RATE))


def flow_columns(
    db: Database, slot: SlotName, t: NDArray[np.int64], volume: NDArray[np.float64]
) -> Columns:
    """Return s_top and s_bot of each bar, shape (n_bars,).

    0 where no flow was recorded because no cohort is configured; NaN where too little of the
    bar's volume was seen.
    """
    times, *sums, seen = rates_table.flows(db, slot, *_ends(t))
    recorded = np.isin(t, times)
    at = np.searchsorted(times, t[recorded])
    enough = seen[at] >= ENOUGH_SEEN * volume[recorded]
    columns = {}
    for name, column in zip(("s_top", "s_bot"), sums, strict=True):
        columns[name] = np.zeros(len(t))
        columns[name][recorded] = np.where(enough, _within(column[at], LARGEST_VOLUME), np.nan)
    return columns


def _within(values: NDArray[np.float64], largest: float) -> NDArray[np.float64]:
    """Return the values, NaN for those that are impossible."""
    return np.where(np.abs(values) <= largest, values, np.nan)


def _ends(t: NDArray[np.int64]) -> tuple[int, int]:
    return (int(t[0]), int(t[-1])) if len(t) else (0, 0)
