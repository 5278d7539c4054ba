"""Read from the journal what a week brought to one slot: signals, versions, retrains."""

from collections import Counter
from typing import Any, Final, NamedTuple

from daemon.runtime import event_codec
from daemon.store.journal_kinds import SCORED
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName
from monitor.events import BarScored, ModelServed
from monitor.outcomes import SignalBook

_SERVED: Final = event_codec.kind(ModelServed)
_COUNTED: Final = ("retrain_finished", "retrain_failed", "swapped", "rolled_back")
_LOOKED_AT: Final = 50


class Week(NamedTuple):
    """What happened to a slot.

    Attributes:
        slot: Its name.
        points: When each signal was settled, ms UTC, and the sum after costs up to it, bp.
        won: How many signals won.
        live: When a version went live, ms UTC, and which.
        counts: How many entries of the journal there are of each kind of retrain and swap.
    """

    slot: str
    points: tuple[tuple[int, float], ...]
    won: int
    live: tuple[tuple[int, str], ...]
    counts: dict[str, int]

    @property
    def total_bp(self) -> float:
        """The sum of all signals after costs, basis points."""
        return self.points[-1][1] if self.points else 0.0


def read_week(store: Store, slot: SlotName, since_ms: int, interval_ms: int) -> Week:
    """Read what happened to a slot.

    Args:
        store: The store.
        slot: The slot.
        since_ms: The beginning, ms UTC.
        interval_ms: Length of one bar.
    """
    signals = _Signals(interval_ms)
    if (before := _served_before(store, slot, since_ms)) is not None:
        signals.serve(before)
    live, counts = [], Counter[str]()
    for entry in store.journal(slot, kinds=(_SERVED, SCORED, *_COUNTED), since_ms=since_ms):
        event = event_codec.event(str(slot), entry.at_ms, entry.kind, entry.body)
        match event:
            case ModelServed():
                signals.serve(event)
            case BarScored():
                signals.score(event)
            case _:
                counts[entry.kind] += 1
                if entry.kind in {"swapped", "rolled_back"}:
                    live.append((entry.at_ms, str(entry.body.get("model_id", ""))))
    return Week(str(slot), tuple(signals.points), signals.won, tuple(live), dict(counts))


def _served_before(store: Store, slot: SlotName, since_ms: int) -> ModelServed | None:
    for entry in store.journal_newest(slot, kinds=[_SERVED], limit=_LOOKED_AT):
        if entry.at_ms < since_ms:
            event: Any = event_codec.event(str(slot), entry.at_ms, entry.kind, entry.body)
            return event if isinstance(event, ModelServed) else None
    return None


class _Signals:
    """Sums up the signals of the live models, one after the other."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._served: ModelServed | None = None
        self._book: SignalBook | None = None
        self.points: list[tuple[int, float]] = []
        self.won, self._total_bp = 0, 0.0

    def serve(self, event: ModelServed) -> None:
        if self._served is None or self._served.model_id != event.model_id:
            horizon_ms = event.horizon_bars * self._interval_ms
            self._book = SignalBook(horizon_ms=horizon_ms, up=event.up, down=event.down)
        self._served = event

    def score(self, event: BarScored) -> None:
        if self._book is None or self._served is None:
            return
        p = event.p if event.model_id == self._served.model_id else None
        outcome = self._book.observe(event.t, event.close, p)
        if outcome is not None:
            self._total_bp += outcome.gain * 1e4 - self._served.round_trip_bps
            self.won += outcome.won
            self.points.append((event.at_ms, self._total_bp))
