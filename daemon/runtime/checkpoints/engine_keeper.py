"""Keep the state of a slot's engine in the store from time to time, and take it up at a start.

A fleet has millions of scores in its journal, and replaying them all takes minutes. A state is
kept only while nothing is under way, so a start never misses an action that a crash cut off.
"""

import contextlib
import zlib
from typing import Final, NamedTuple

from daemon.runtime.checkpoints.engine_state import StateUnreadable, engine_of, key_of, state_of
from daemon.store import engine_table
from daemon.store.async_store import AsyncStore
from daemon.store.database import StoreUnavailable
from daemon.store.engine_table import KeptEngine
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor.actions import Action
from monitor.engine import Engine

EVERY_BARS: Final = 288
"""A state is kept after so many bars, which a start after a crash replays."""
_FASTEST: Final = 1


class Continued(NamedTuple):
    """An engine as it was kept.

    Attributes:
        engine: The engine.
        seq: The last entry of the journal that it has handled.
        first_t: Open time of the first bar that it was given, ms UTC.
        before: How many older bars were stored then.
        order: What it had ordered last, where that may not have been carried out.
    """

    engine: Engine
    seq: int
    first_t: int
    before: int
    order: Action | None


class EngineKeeper:
    """Keeps the engine of one slot.

    Args:
        slot: The slot.
        store: Takes the states; what the disk refuses is left out.
    """

    def __init__(self, slot: SlotName, store: AsyncStore) -> None:
        self._slot, self._store = slot, store
        self._first_t, self._before, self._bars = -1, 0, 0

    def begin(self, first_t: int | None, before: int, bars: int) -> None:
        """Take note of a rebuilt engine.

        Args:
            first_t: Open time of the first bar that it was given, ms UTC; None if there was none.
            before: How many older bars were stored then.
            bars: How many bars were replayed, after those that it was kept with.
        """
        self._before, self._bars = before, bars
        self._first_t = -1 if first_t is None else first_t

    def scored(self, t: int) -> None:
        """Count a bar that the engine was given, by its open time, ms UTC."""
        self._bars += 1
        self._first_t = t if self._first_t < 0 else self._first_t

    async def keep_if_due(self, engine: Engine) -> None:
        """Keep the state if it is due; call it between two events."""
        if self._bars >= EVERY_BARS:
            await self.keep(engine)

    async def keep(self, engine: Engine) -> None:
        """Keep the state, unless nothing is new or something is under way."""
        if not (self._bars and self._first_t >= 0 and engine.is_calm):
            return
        with contextlib.suppress(StoreUnavailable):
            await self._store.call(_keep, self._slot, engine, self._first_t, self._before)
            self._bars = 0


def packed(
    engine: Engine, first_t: int, before: int, seq: int = 0, order: Action | None = None
) -> KeptEngine:
    """Return the row of the store that keeps an engine.

    Args:
        engine: The engine; it handles no event meanwhile.
        first_t: Open time of the first bar that it was given, ms UTC.
        before: How many older bars were stored then.
        seq: The last entry of the journal that it has handled; 0 is the newest when it is written.
        order: What it ordered last, where that may not have been carried out.
    """
    state = zlib.compress(state_of(engine, order), _FASTEST)
    return KeptEngine(seq, first_t, before, key_of(engine), state)


def _keep(store: Store, slot: SlotName, engine: Engine, first_t: int, before: int) -> None:
    """Keep the state, which is made on the store's thread, because all slots keep theirs at once.

    The slot handles no event meanwhile.
    """
    engine_table.keep(store.database, slot, packed(engine, first_t, before))


def continued(store: Store, slot: SlotName, fresh: Engine) -> Continued | None:
    """Return the engine of a slot as it was kept last; None if it is to be built anew.

    Args:
        store: The store.
        slot: The slot.
        fresh: A new engine; the kept one takes over its settings.
    """
    kept = engine_table.kept(store.database, slot)
    if kept is None or kept.key != key_of(fresh):
        return None
    if store.count(slot, kept.first_t) != kept.before:
        return None  # older bars were stored or forgotten since
    try:
        engine, order = engine_of(zlib.decompress(kept.state))
    except (StateUnreadable, zlib.error):
        return None
    if not engine.adopt(fresh.settings):
        return None
    return Continued(engine, kept.seq, kept.first_t, kept.before, order)
