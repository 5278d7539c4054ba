"""Find the bars in which no market was open: before a listing, and while the venue was down.

The venue serves both as bars: before a listing with the moving prices of an index, in an
outage with one flat price. Nobody could trade in them, so no model may learn from them. The
store keeps them as the venue serves them, and notes their spans in a table. A training frame
leaves them out; features and labels do not reach across the hole.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.core.bars import Provenance
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

PRELISTING: Final = "prelisting"
OUTAGE: Final = "outage"

# A coin votes on outages if fewer than this part of its bars are without trades.
_LIVELY_FRAC: Final = 0.05
# A coin that decides alone must hardly ever pause; then two quiet bars in a row are an outage.
_RESTLESS_FRAC: Final = 0.01
_ALONE_BARS: Final = 2
# A dozen other coins are enough to decide; more would cost a large fleet too much reading.
_MOST_OTHERS: Final = 12
_LEAST_VOTES: Final = 2


class MarketClosure(NamedTuple):
    """A stretch without a market: first and last t, and which kind."""

    from_t: int
    to_t: int
    kind: str


def training_frame(
    store: Store, slot: SlotName, from_t: int, others: Collection[SlotName]
) -> dict[str, NDArray[Any]]:
    """Read the bars of record that a model may learn from, and note the closures it leaves out.

    Args:
        store: Where the bars are.
        slot: Whose bars.
        from_t: The first open time, ms UTC.
        others: Other slots, whose coins tell an outage from a pause.

    Returns:
        The columns of `Store.frame`, each of shape (n_bars,).
    """
    frame, found = _learnable(store, slot, from_t, others)
    _mark(store, slot, from_t, found)
    return without(frame, found)


def training_closes(
    store: Store, slot: SlotName, from_t: int, others: Collection[SlotName]
) -> NDArray[np.float64]:
    """Return the closes that `training_frame` would read, shape (n_bars,), and note nothing.

    Args:
        store: Where the bars are.
        slot: Whose bars.
        from_t: The first open time, ms UTC.
        others: Other slots, whose coins tell an outage from a pause.
    """
    closes: NDArray[np.float64] = without(*_learnable(store, slot, from_t, others))["close"]
    return closes


def _learnable(
    store: Store, slot: SlotName, from_t: int, others: Collection[SlotName]
) -> tuple[dict[str, NDArray[Any]], list[MarketClosure]]:
    record = store.newest_t(slot, Provenance.IMPORT)
    frame = store.frame(slot, from_t=from_t, to_t=record)
    beside = [store.bars(other, from_t=from_t) for other in comparison_slots(slot, others)]
    return frame, find(frame, beside, slot)


def without(
    frame: Mapping[str, NDArray[Any]], found: Collection[MarketClosure]
) -> dict[str, NDArray[Any]]:
    """Return the bars that lie in no closure; columns have shape (n,), before and after."""
    kept = np.ones(len(frame["t"]), dtype=bool)
    for silence in found:
        kept &= (frame["t"] < silence.from_t) | (frame["t"] > silence.to_t)
    return {name: column[kept] for name, column in frame.items()}


def find(
    frame: Mapping[str, NDArray[Any]],
    others: Collection[Mapping[str, NDArray[Any]]],
    slot: SlotName,
) -> list[MarketClosure]:
    """Find the market closures of one slot.

    Args:
        frame: Its t, open, high, low, close and volume, each of shape (n_bars,), oldest first.
        others: t and volume of other coins at the same interval.
        slot: Its interval says which bars are adjacent.
    """
    t = frame["t"]
    first = _listed(frame)
    quiet = (frame["volume"] == 0) & (np.arange(len(t)) >= first)
    silences = [MarketClosure(int(t[0]), int(t[first - 1]), PRELISTING)] if first else []
    own = quiet[first:].mean() if first < len(t) else 1.0
    lively = [other for other in others if _is_lively(other)]
    votes = np.full(len(t), int(own < _LIVELY_FRAC))
    shut = quiet.copy()
    for other in lively:
        at = np.isin(t, other["t"])
        votes += at
        shut &= ~at | np.isin(t, other["t"][other["volume"] == 0])
    runs = _runs(t, shut & (votes >= _LEAST_VOTES), slot.interval_ms)
    if not lively and own < _RESTLESS_FRAC:
        runs = [
            run for run in _runs(t, quiet, slot.interval_ms) if run[1] - run[0] + 1 >= _ALONE_BARS
        ]
    return [*silences, *(MarketClosure(int(t[a]), int(t[b]), OUTAGE) for a, b in runs)]


def _mark(store: Store, slot: SlotName, from_t: int, found: Collection[MarketClosure]) -> None:
    """Replace the closures noted since `from_t` by those found now."""
    with store.database.writing() as db:
        db.execute(
            "DELETE FROM silences WHERE coin = ? AND interval = ? AND to_t >= ?", (*slot, from_t)
        )
        rows = [(*slot, *silence) for silence in found]
        db.executemany("INSERT OR REPLACE INTO silences VALUES (?, ?, ?, ?, ?)", rows)


def comparison_slots(slot: SlotName, others: Collection[SlotName]) -> list[SlotName]:
    """Return which of the other slots tell an outage from a pause of this one."""
    same = sorted(o for o in others if o.interval == slot.interval and o.coin != slot.coin)
    return same[:_MOST_OTHERS]


def _is_lively(bars: Mapping[str, NDArray[Any]]) -> bool:
    return bool(len(bars["t"]) and (bars["volume"] == 0).mean() < _LIVELY_FRAC)


def _listed(frame: Mapping[str, NDArray[Any]]) -> int:
    """Return the index of the first bar after the venue's back-fill, 0 if there is none of it."""
    traded = np.flatnonzero(frame["volume"] > 0)
    first = int(traded[0]) if len(traded) else len(frame["t"])
    close = frame["close"][:first]
    moved = np.any(frame["high"][:first] != frame["low"][:first]) or np.any(np.diff(close) != 0)
    return first if moved else 0


def _runs(t: NDArray[np.int64], where: NDArray[np.bool_], step_ms: int) -> list[tuple[int, int]]:
    """Return first and last index of each run of adjacent bars."""
    at = np.flatnonzero(where)
    if not len(at):
        return []
    breaks = np.flatnonzero((np.diff(at) > 1) | (np.diff(t[at]) > step_ms))
    firsts, lasts = np.r_[at[0], at[breaks + 1]], np.r_[at[breaks], at[-1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
