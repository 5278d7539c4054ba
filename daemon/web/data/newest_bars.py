"""The newest bars of a slot, and what the live model said of each."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from daemon.journal.said import Fields
from daemon.store.feature_frame import Columns
from daemon.store.journal_kinds import SCORED
from daemon.store.journal_table import JournalEntry
from daemon.store.store import Store
from daemon.web.data.version_reader import Thresholds
from daemon.web.views import BarLine
from hyperdrift.slot_name import SlotName
from monitor.outcomes import decision

_SHOWN: Final = 24
_SIDES: Final = {-1: "DOWN", 0: "NEUTRAL", 1: "UP"}


class NewestBars(NamedTuple):
    """Stored bars and the entries of the journal with their scores.

    `bars` has t (ms UTC) and the prices, oldest first, each of shape (n_bars,).
    """

    bars: Columns
    scores: list[JournalEntry]

    @classmethod
    def read(cls, store: Store, slot: SlotName) -> "NewestBars":
        """Read the newest bars and scores."""
        scores = store.journal_newest(slot, kinds=(SCORED,), limit=_SHOWN)
        return cls(store.bars(slot, last=_SHOWN), scores)

    def lines(self, thresholds: Mapping[str, Thresholds]) -> tuple[BarLine, ...]:
        """Return the bars, newest first.

        Args:
            thresholds: The signal thresholds of each version; without them there is no decision.
        """
        scored = {Fields(entry.body).number("t"): Fields(entry.body) for entry in self.scores}
        prices = [self.bars[name] for name in ("open", "high", "low", "close", "volume")]
        rows = zip(self.bars["t"].tolist(), *(column.tolist() for column in prices), strict=True)
        found = [_line(row, scored.get(row[0]), thresholds) for row in rows]
        return tuple(found[::-1])


def _line(
    row: tuple[int, float, float, float, float, float],
    score: Fields | None,
    thresholds: Mapping[str, Thresholds],
) -> BarLine:
    t, open_, high, low, close, volume = row
    shares = score.shares("p") if score else ()
    p = (shares[0], shares[1], shares[2]) if shares else None
    of = thresholds.get(score.text("model_id")) if score else None
    said = _SIDES[decision(p, of.up, of.down)] if p and of else ""
    return BarLine(
        t=t, open=open_, high=high, low=low, close=close, volume=volume, p=p, decision=said
    )
