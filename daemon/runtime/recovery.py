"""Rebuild a slot's engine from the journal, at every start."""

import gc
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from daemon.core.bars import Bar
from daemon.runtime import event_codec
from daemon.runtime.checkpoints.engine_keeper import continued
from daemon.scoring.bot_feature_check import KEPT_BARS
from daemon.store import journal_table
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor import actions, events
from monitor.engine import Engine
from monitor.policy import PolicySettings
from retrain import features

# Older events influence no decision, but for those of `_lasting`.
JOURNAL_DAYS: Final = 45
# The actions that a start finishes if a crash interrupted them.
_RESUMED: Final = (actions.AskChallenger, actions.Deploy, actions.Promote, actions.Rollback)


class Rebuilt(NamedTuple):
    """A rebuilt engine.

    Attributes:
        engine: The engine.
        bars: The newest `KEPT_BARS` that it has handled, oldest first.
        order: The action of `_RESUMED` that it waits for, a swap before a question; else any.
        first_t: Open time of the first bar that it was ever given, ms UTC; None if none.
        before: How many older bars are stored; without `first_t` how many at all.
        replayed: How many bars were handed to it now.
    """

    engine: Engine
    bars: list[events.BarScored]
    order: actions.Action | None
    first_t: int | None
    before: int
    replayed: int


def new_engine(slot: SlotName, settings: PolicySettings, history_bars: int) -> Engine:
    """Return an engine without a past.

    Args:
        slot: The slot.
        settings: Its limits.
        history_bars: Bars stored before the first that it will be given.
    """
    return Engine(
        str(slot),
        settings,
        interval_ms=slot.interval_ms,
        names=features.NAMES,
        history_bars=history_bars,
    )


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


def bars_before(store: Store, slot: SlotName, first_t: int | None) -> int:
    """Return how many bars are stored that opened before `first_t`, ms UTC, or at all."""
    return store.count(slot) if first_t is None else store.count(slot, first_t)


def rebuilt(
    store: Store, slot: SlotName, since_ms: int, make_engine: Callable[[int], Engine]
) -> Rebuilt:
    """Hand the events of the journal to an engine; its actions were carried out before.

    The engine is the one that was kept last, with the events since then, or a new one with all.
    It takes a second if there are many bars: call it on the store's own thread.

    Args:
        store: Holds the journal, the bars and the kept engine.
        slot: The slot.
        since_ms: Events before this time, ms UTC, are left out, but for those that still hold.
        make_engine: Makes an engine that begins after so many bars.
    """
    kept = continued(store, slot, make_engine(0))
    past = [] if kept else _lasting(store, slot, since_ms)
    past += event_codec.read(store, slot, since_ms, kept.seq if kept else 0)
    bars = [event for event in past if isinstance(event, events.BarScored)]
    first_t = bars[0].t if bars else None
    if kept is not None:
        first_t, before, engine = kept.first_t, kept.before, kept.engine
    else:
        before = bars_before(store, slot, first_t)
        engine = make_engine(before)
    ordered = {_asks(kept.order): kept.order} if kept is not None else {}
    for event in past:
        for action in engine.handle(event):
            if isinstance(action, _RESUMED):
                ordered[_asks(action)] = action
    order = ordered.get(engine.snapshot().swap_to is None)  # a later swap may have failed
    newest = bars[-KEPT_BARS:]
    if kept is not None and len(bars) < KEPT_BARS:
        newest = _newest(store, slot)
    gc.freeze()  # it stays: among many slots, each garbage collection would look at all engines
    return Rebuilt(engine, newest, order, first_t, before, len(bars))


def _lasting(store: Store, slot: SlotName, before_ms: int) -> list[events.Event]:
    """Return what holds of the time before: which model went live last, and whether it pauses."""
    older = partial(journal_table.newest_first, store.database, slot, before_ms=before_ms)
    served = older(event_codec.kind(events.ModelServed), most=1)  # each is long
    switched = (
        entry
        for entry in older(event_codec.kind(events.CommandReceived))
        if entry.body.get("command") in {"pause", "resume"}
    )
    rows = sorted([*served, *islice(switched, 1)])
    found = (event_codec.event(str(slot), row.at_ms, row.kind, row.body) for row in rows)
    return [event for event in found if event is not None]


def _asks(order: actions.Action | None) -> bool:
    """Whether an order is a question to a challenger; no swap ends one."""
    return isinstance(order, actions.AskChallenger)


def _newest(store: Store, slot: SlotName) -> list[events.BarScored]:
    kind = event_codec.kind(events.BarScored)
    rows = reversed(store.journal_newest(slot, kinds=[kind], limit=KEPT_BARS))
    found = (event_codec.event(str(slot), row.at_ms, row.kind, row.body) for row in rows)
    return [event for event in found if isinstance(event, events.BarScored)]
