"""Count the venue's anomalies by kind and slot, and log few of them.

A duplicated push or a dropped idle connection loses nothing, but it may explain something
else in the log. A kind is logged when it begins after ten minutes without it. While it lasts,
it is logged once per hour, for all slots together. So a kind takes six lines an hour at most.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, get_args

import structlog

from daemon.core.clock import VenueClock
from hyperdrift.slot_name import HOUR_MS, MINUTE_MS, SlotName

log = structlog.get_logger()

Kind = Literal[
    "duplicate",
    "out_of_order",
    "late_frame",
    "last_state_missing",
    "nobody_trades",
    "connection_dropped",
    "error_answer",
    "stale_answer",
    "shorter_bars_lacking",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

CALM_MS: Final = 10 * MINUTE_MS
"""After so much venue time without a kind, ms, the next one is logged at once."""

_WHY: Final[dict[Kind, str]] = {
    "duplicate": "the stream pushed the same state of a candle again; it changes nothing",
    "out_of_order": "the stream pushed an older state after a newer one; the newer one is kept",
    "late_frame": "the stream pushed a bar long after its close; REST decides, nothing is lost",
    "last_state_missing": "the stream never pushed the last state of a bar; what REST has is kept",
    "nobody_trades": "nobody traded in a bar; it is kept flat at the last close, nothing is lost",
    "connection_dropped": "REST dropped a connection without an answer; it was asked again at once",
    "error_answer": "REST answered with an error or not in time; it was asked again",
    "stale_answer": "REST lagged behind and lacked trades of a closed bar; the store has them now",
    "shorter_bars_lacking": (
        "the bars of the shorter interval do not tell a longer bar; REST was asked for that one"
    ),
}


@dataclass(slots=True)
class _Episode:
    """A kind that lasts: when it was last seen and last logged, venue ms, and how often seen."""

    seen_ms: int
    told_ms: int
    times: int = 1


class AnomalyLog:
    """Counts and logs anomalies.

    Args:
        venue: The venue's clock, by which times are measured.
    """

    def __init__(self, venue: VenueClock) -> None:
        self._venue = venue
        self._counts: Counter[tuple[SlotName | None, Kind]] = Counter()
        self._episodes: dict[Kind, _Episode] = {}

    def note(self, kind: Kind, slot: SlotName | None = None) -> None:
        """Count one anomaly; log it if its kind begins, or has lasted for another hour."""
        self._counts[slot, kind] += 1
        now_ms, episode = self._venue.now_ms(), self._episodes.get(kind)
        # abs(): the venue's clock may be set back.
        if episode is None or abs(now_ms - episode.seen_ms) >= CALM_MS:
            self._episodes[kind] = episode = _Episode(now_ms, now_ms)
            self._say(kind, slot, episode)
            return
        episode.times, episode.seen_ms = episode.times + 1, now_ms
        if now_ms - episode.told_ms >= HOUR_MS:
            episode.told_ms = now_ms
            self._say(kind, slot, episode)

    def of_slot(self, slot: SlotName) -> dict[str, int]:
        """Return how often each kind was seen in a slot since the start."""
        return {kind: n for kind in KINDS if (n := self._counts[slot, kind])}

    def of_all(self) -> dict[str, int]:
        """Return how often each kind was seen since the start, in all slots and in none."""
        sums: Counter[str] = Counter()
        for (_, kind), n in self._counts.items():
            sums[kind] += n
        return {kind: sums[kind] for kind in KINDS if kind in sums}

    def _say(self, kind: Kind, slot: SlotName | None, episode: _Episode) -> None:
        whose = {} if slot is None else {"slot": str(slot)}
        log.info("feed.oddity", kind=kind, **whose, times=episode.times, why=_WHY[kind])
