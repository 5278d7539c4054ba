"""Find rows of one time: copies are counted, states of a bar give the last, others are refused."""

from collections.abc import Mapping

import numpy as np

from daemon.core.times import utc
from daemon.ingest.tables.reading import Floats, Ints, RowSieve
from hyperdrift.errors import BadInput


def distinct_rows(
    sieve: RowSieve, t: Ints, values: Mapping[str, Floats], n: Ints, *, states: bool
) -> Ints:
    """Return the number of one row for each time, ascending in t.

    Args:
        sieve: The rows that are left; repeated ones are counted in it.
        t: Times of all rows, ms UTC, shape (rows,).
        values: Their values by column, shape (rows,) each.
        n: Trades, shape (rows,), which do not tell copies apart.
        states: Whether rows are states of bars as a socket pushes them: the last one stays.

    Raises:
        BadInput: If rows of one time differ.
    """
    rows = np.flatnonzero(sieve.good)
    order = rows[np.argsort(t[rows], kind="stable")]
    if states:
        order = rows[np.lexsort((rows, n[rows], values["volume"][rows], t[rows]))]
    times = t[order]
    same = times[1:] == times[:-1]
    if not same.any():
        return order.astype(np.int64)
    before, after = order[:-1][same], order[1:][same]
    differ = np.zeros(len(before), dtype=np.bool_)
    for column in values.values():
        differ |= column[before] != column[after]
    if differ.any():
        if not states or not _grow(values, before, after):
            _refuse(sieve, t, values, before[differ], after[differ])
        sieve.left_out["earlier states of a bar"] += int(differ.sum())
    if repeated := int((~differ).sum()):
        sieve.left_out["repeated"] += repeated
    last = np.r_[~same, True]
    return order[last].astype(np.int64)


def _grow(values: Mapping[str, Floats], before: Ints, after: Ints) -> bool:
    """Return whether each later state can follow the earlier one."""
    falls = {"low"}
    for name in ("high", "low", "volume"):
        one, other = values[name][before], values[name][after]
        if np.any(other > one if name in falls else other < one):
            return False
    return bool(np.all(values["open"][before] == values["open"][after]))


def _refuse(
    sieve: RowSieve, t: Ints, values: Mapping[str, Floats], before: Ints, after: Ints
) -> None:
    one, other = int(before[0]), int(after[0])
    name = next(name for name, column in values.items() if column[one] != column[other])
    times = len(np.unique(t[after]))
    more = f", and {times - 1} more times" if times > 1 else ""
    raise BadInput(
        f"{sieve.path} has rows of one time that differ: {name} of {utc(int(t[one]))} is "
        f"{values[name][one]:g} in row {min(one, other) + 1} and {values[name][other]:g} in row "
        f"{max(one, other) + 1}{more}; keep the right ones"
    )
