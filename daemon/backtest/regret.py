"""Compare each policy with the fixed schedule that turned out best.

Nobody knows beforehand which schedule will be best, so no policy can be blamed for some regret.
But a policy whose regret is surely above 0 costs more than it is worth.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.backtest.performance import Track
from retrain.deciding.block_bootstrap import block_length
from retrain.scores import paired_difference

FIXED: Final = ("never", "monthly", "weekly", "daily")
"""The fixed schedules, which do not look at evidence."""
_LEAST_BLOCKS: Final = 30
"""Blocks of the bootstrap; fewer show nothing about policies that differ so little."""


@dataclass(frozen=True, slots=True)
class RegretFigure:
    """How much more a policy has than the best schedule `against`, with a 95 % interval."""

    against: str
    value: float
    low: float
    high: float

    @property
    def is_best(self) -> bool:
        """Whether this is the best schedule itself."""
        return self.value == self.low == self.high == 0


@dataclass(frozen=True, slots=True)
class Regret:
    """A policy compared with the best fixed schedule in hindsight; None if too little compares.

    `log_loss` is in nats a bar: above 0 the policy predicted worse. `pnl` is the difference of
    the sums of returns after costs: below 0 it earned less. Each has its own best schedule.
    """

    log_loss: RegretFigure | None
    pnl: RegretFigure | None

    def document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


NO_REGRET: Final = Regret(None, None)


def regrets(tracks: Mapping[str, Track], horizon_bars: int) -> dict[str, Regret]:
    """Return the regret of each policy.

    Args:
        tracks: Of each policy, on the same bars.
        horizon_bars: Bars from a prediction to its outcome; neighbours overlap by it.
    """
    fixed = [name for name in tracks if name in FIXED]
    if not fixed:
        return dict.fromkeys(tracks, NO_REGRET)
    everywhere = _compared(*(tracks[name] for name in fixed))
    best = None
    if everywhere.any():
        best = min(fixed, key=lambda name: float(tracks[name].loss[everywhere].mean()))
    richest = max(fixed, key=lambda name: float(tracks[name].net.sum()))
    return {
        name: Regret(
            _log_loss(track, best, tracks[best], horizon_bars) if best else None,
            _pnl(track, richest, tracks[richest], horizon_bars),
        )
        for name, track in tracks.items()
    }


def _log_loss(track: Track, name: str, other: Track, horizon_bars: int) -> RegretFigure | None:
    both = _compared(track, other)
    if not has_enough(int(both.sum()), horizon_bars):
        return None
    value, interval = paired_difference(track.loss[both], other.loss[both], horizon_bars)
    return RegretFigure(name, value, *interval)


def _pnl(track: Track, name: str, other: Track, horizon_bars: int) -> RegretFigure | None:
    began = np.flatnonzero(np.isfinite(track.loss) | np.isfinite(other.loss))
    if not has_enough(len(began), horizon_bars):
        return None
    part = slice(int(began[0]), None)
    value, interval = paired_difference(track.net[part], other.net[part], horizon_bars)
    bars = len(track.net[part])
    return RegretFigure(name, bars * value, bars * interval.low, bars * interval.high)


def has_enough(bars: int, horizon_bars: int) -> bool:
    """Return whether the bootstrap has enough blocks to show anything about a policy."""
    return bars > 0 and bars >= _LEAST_BLOCKS * block_length(bars, horizon_bars)


def _compared(*tracks: Track) -> NDArray[np.bool_]:
    """Return where all answered, and the same question."""
    first = tracks[0]
    same = np.isfinite(first.loss)
    for track in tracks[1:]:
        same &= np.isfinite(track.loss) & (track.limit == first.limit)
    return same
