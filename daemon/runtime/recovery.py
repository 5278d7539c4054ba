"""Rebuild a slot's engine from the journal, at every start."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from daemon.core.bars import Bar
from daemon.runtime import event_codec
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from monitor.engine import Engine

# Older events no longer influence any decision.
JOURNAL_DAYS: Final = 45
# The actions that a start finishes if a crash interrupted them.
_RESUMED: Final = (actions.AskChallenger, actions.Deploy, actions.Promote, actions.Rollback)


class Rebuilt(NamedTuple):
    """A rebuilt engine, the bars that it has handled, and its last action of `_RESUMED`.

    The bars are oldest first; `before` is how many older ones are stored.
    """

    engine: Engine
    bars: list[events.BarScored]
    order: actions.Action | None
    before: int


def bars_after(store: Store, slot: SlotName, from_t: int) -> list[Bar]:
    """Return the stored bars that opened at `from_t` (ms UTC) or later, oldest first."""
    stored = store.bars(slot, from_t=from_t)
    names = ("t", "open", "high", "low", "close", "volume")
    rows = zip(*(stored[name] for name in names), strict=True)
    bars = []
    for t, *values in rows:
        open_, high, low, close, volume = map(float, values)
        bars.append(Bar(int(t), open_, high, low, close, volume))
    return bars


def bars_before(store: Store, slot: SlotName, scored: Sequence[events.BarScored]) -> int:
    """Return how many bars are stored from before the first that was scored, or at all."""
    stored = store.bars(slot)["t"]
    return int(np.count_nonzero(stored < scored[0].t)) if scored else len(stored)


def rebuilt(
    store: Store, slot: SlotName, since_ms: int, make_engine: Callable[[int], Engine]
) -> Rebuilt:
    """Hand all events of the journal to a new engine; its actions were carried out before.

    It takes seconds if there are many bars: call it on the store's own thread.

    Args:
        store: Holds the journal and the bars.
        slot: The slot.
        since_ms: Events before this time, ms UTC, are left out.
        make_engine: Makes an engine that begins after so many bars.
    """
    past = event_codec.read(store, slot, since_ms)
    bars = [event for event in past if isinstance(event, events.BarScored)]
    before = bars_before(store, slot, bars)
    engine, order = make_engine(before), None
    for event in past:
        for action in engine.handle(event):
            if isinstance(action, _RESUMED):
                order = action
    return Rebuilt(engine, bars, order, before)
