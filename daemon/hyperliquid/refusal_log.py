"""Count and log the bars and rates of REST answers that were left out, each bar once.

The same bar is asked for many times, so a bar that cannot be would fill the log.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from daemon.core.log_once import LogOnce
from daemon.hyperliquid.frames import RefusedBar
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_REMEMBERED: Final = 10_000


class RefusalLog:
    """Remembers what was told.

    Attributes:
        bars: Bars with impossible numbers, by slot, each counted once.
    """

    def __init__(self) -> None:
        self.bars: Counter[SlotName] = Counter()
        self._told: set[RefusedBar] = set()
        self._rates = LogOnce()

    def note_bars(self, refused: Iterable[RefusedBar]) -> None:
        """Count and log the bars that were not seen before."""
        for bar in set(refused) - self._told:
            log.warning("rest.bar_refused", slot=str(bar.slot), t=bar.t, reason=bar.reason)
            self.bars[bar.slot] += 1
            if len(self._told) >= _REMEMBERED:
                self._told.clear()
            self._told.add(bar)

    def note_rates(self, coin: str, refused: Sequence[str]) -> None:
        """Log once, until an answer has none, that rates of a coin were left out, and why."""
        if not refused:
            self._rates.ends(coin)
        elif self._rates.begins(coin):
            log.warning("rest.rate_refused", coin=coin, rows=len(refused), reason=refused[0])
