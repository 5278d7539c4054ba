"""Log when bars begin to be handed on late, and when they are on time again.

A bot trades on a bar when it gets the bar. Bars that closed while the daemon was off or the
venue did not answer do not count: the log has the reason already.
"""

from typing import Final

import structlog

from daemon.core.clock import VenueClock
from daemon.core.log_once import LogOnce
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

LATE_FRAC: Final = 0.2
"""A bar is late after this share of its interval."""
# REST may take this long to show a bar; it is asked again every ten seconds.
_LEAST_MS: Final = 45_000
# In a fast replay this much wall time may pass on this machine itself.
_LEAST_WALL_S: Final = 0.2
# So many bars on time end an episode: an overloaded machine is late with every other bar.
_ON_TIME_BARS: Final = 3


class LatencyLog:
    """Logs how late the bars of one slot are.

    Args:
        slot: The slot.
        venue: The venue's clock, by which lateness is measured.
    """

    def __init__(self, slot: SlotName, venue: VenueClock) -> None:
        self._slot, self._venue = slot, venue
        wall_ms = _LEAST_WALL_S * 1000 * venue.speed
        self._limit_ms = max(LATE_FRAC * slot.interval_ms, _LEAST_MS, wall_ms)
        self._excused_ms = 0
        self._late, self._on_time = LogOnce(), 0

    def excuse(self) -> None:
        """Never count bars that have closed by now as late."""
        self._excused_ms = self._venue.now_ms()

    def handed_on(self, t: int) -> None:
        """Log if a bar is late; call it when the bar that opened at `t` (ms UTC) is handed on."""
        close_ms = t + self._slot.interval_ms
        if close_ms <= self._excused_ms:
            return
        late_ms = self._venue.now_ms() - close_ms
        if late_ms > self._limit_ms:
            self._on_time = 0
            if self._late.begins():
                self._tell(t, late_ms / 1000)
        elif self._late.lasts():
            self._on_time += 1
            if self._on_time >= _ON_TIME_BARS:
                log.info("feed.bars_on_time", slot=str(self._slot), late_bars=self._late.ends())

    def _tell(self, t: int, delay_s: float) -> None:
        limit_s = self._limit_ms / 1000
        why = (
            f"the bar was handed on {delay_s:.0f} s after its close, {limit_s:.0f} s is the limit:"
            " the venue answers slowly or this machine is overloaded; run `hyperdrift doctor`"
        )
        log.warning("feed.bar_late", slot=str(self._slot), t=t, delay_s=round(delay_s, 1), why=why)
