"""Recognise anomalies of the venue in the bars of one slot.

An anomaly is counted only when it is certain. The first frame after a reconnect is not a
duplicate. The last state of a bar is missing only if one socket covered the whole bar and
the next bar is confirmed.
"""

from collections.abc import Sequence
from typing import Final

from daemon.core.bars import Bar, Provenance
from daemon.core.clock import VenueClock
from daemon.hyperliquid.anomaly_log import AnomalyLog
from daemon.market_data.bar_close import grace_ms
from daemon.market_data.stream_cache import Coverage, StreamCache
from hyperdrift.slot_name import SlotName

# How many filled bars are remembered until REST has them.
_REMEMBERED: Final = 48
# A push may take so much wall time on this machine itself; the venue is not the cause.
_ON_ITS_WAY_S: Final = 0.1


class StreamAnomalies:
    """Looks for anomalies in one slot's frames, answers and bars.

    Args:
        slot: The slot.
        oddities: Counts the anomalies.
        shown: The bars that the stream showed before.
        coverage: The time that the present socket covers.
        venue: The venue's clock, which tells how late a frame is.
    """

    def __init__(
        self,
        slot: SlotName,
        oddities: AnomalyLog,
        shown: StreamCache,
        coverage: Coverage,
        venue: VenueClock,
    ) -> None:
        self._slot, self._oddities, self._venue = slot, oddities, venue
        self._shown, self._coverage = shown, coverage
        self._said: dict[int, Bar] = {}  # REST's newest values of bars that are not judged yet
        self._judged_t = -1
        self._lacking: set[int] = set()  # open times of filled bars that REST does not have yet

    def pushed(self, bar: Bar) -> None:
        """Look at a frame; call it before `StreamCache` takes the frame."""
        if oddity := self._shown.oddity(bar, self._coverage.socket):
            self._oddities.note(oddity, self._slot)
        late_ms = self._venue.now_ms() - bar.t - self._slot.interval_ms
        way_ms = _ON_ITS_WAY_S * 1000 * self._venue.speed
        if late_ms > max(2 * grace_ms(self._venue.uncertainty_ms), way_ms):
            self._oddities.note("late_frame", self._slot)

    def confirmed(self, certain: Sequence[Bar]) -> None:
        """Look at closed bars as REST has them, ascending; the newest is judged next time."""
        for bar in certain:
            said = self._said.get(bar.t)
            had_fewer = said is not None and said.n < bar.n
            if had_fewer or (bar.t in self._lacking and bar.volume > 0):
                self._oddities.note("stale_answer", self._slot)
            self._lacking.discard(bar.t)
            if bar.t > self._judged_t:
                self._said[bar.t] = bar
        for t in sorted(self._said)[:-1]:
            self._judged_t = t
            if self._was_cut_short(self._said.pop(t)):
                self._oddities.note("last_state_missing", self._slot)

    def handed_on(self, bar: Bar, provenance: Provenance, *, led: bool) -> None:
        """Look at a bar that is handed on; `led` if REST was not asked about it yet."""
        if bar.volume == 0:
            self._oddities.note("nobody_trades", self._slot)
        if led:
            return
        if provenance is Provenance.FILLED:
            self._lacking.add(bar.t)
            if len(self._lacking) > _REMEMBERED:
                self._lacking.discard(min(self._lacking))
        elif provenance is Provenance.STREAM and bar.volume > 0:
            # REST lacked the bar too long after its close, and the stream had shown its trades.
            self._oddities.note("stale_answer", self._slot)

    def _was_cut_short(self, bar: Bar) -> bool:
        """Tell whether a socket that covered the whole bar did not show its last state."""
        final_ms = bar.t + self._slot.interval_ms + grace_ms(self._venue.uncertainty_ms)
        if shown := self._shown.final(bar.t, final_ms, self._coverage):
            return shown != bar
        return bar.volume > 0 and self._shown.is_quiet(bar.t, final_ms, self._coverage)
