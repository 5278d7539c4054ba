"""Add up what the signals of a slot returned after costs.

The engine keeps the newest returns, those that `earning` in the state is made of. So the line and
the figure agree, and a start rebuilds both from the journal.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import Final

from daemon.web.views import EquityPoint
from hyperdrift.slot_name import DAY_MS
from monitor.watch import SignalGain

SMALL: Final = 60
"""Points of a small picture."""

_DAYS: Final = 30
_BP: Final = 1e4


def equity(
    gains: Sequence[SignalGain], now_ms: int, newest: int | None = None
) -> tuple[EquityPoint, ...]:
    """Return the sum after each signal of the last 30 days; it begins at 0.

    Args:
        gains: What signals returned, oldest first.
        now_ms: The time of the venue.
        newest: Only so many of the newest points.
    """
    first = bisect_left(gains, now_ms - _DAYS * DAY_MS, key=lambda gain: gain.at_ms)
    if first == len(gains):
        return ()
    before = gains[first].total - gains[first].gain
    shown = first if newest is None else max(first, len(gains) - newest)
    return tuple(
        EquityPoint(t=gain.at_ms, total_bp=round((gain.total - before) * _BP, 2))
        for gain in islice(gains, shown, None)
    )
