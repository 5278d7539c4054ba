"""Summarise the cells of a backtest over the coins: each policy, and each horizon.

One coin is one draw, and coins move together. So the interval of the mean P&L comes from the
mean return of all coins at each bar, of which blocks are resampled: what all coins share stays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daemon.backtest.performance import Floats, Track
from daemon.backtest.regret import RegretFigure, has_enough
from daemon.backtest.results import BacktestResult, SlotBacktest, Tracks
from hyperdrift.slot_name import INTERVAL_MS
from retrain.scores import paired_difference


def _value(difference: RegretFigure | None) -> float | None:
    return difference.value if difference else None


@dataclass(frozen=True, slots=True)
class Means:
    """The mean of each figure over the cells that have it; None where none has."""

    retrains: float | None
    log_loss: float | None
    log_loss_regret: float | None
    pnl: float | None
    pnl_before_costs: float | None
    pnl_regret: float | None

    @classmethod
    def of(cls, results: Sequence[BacktestResult]) -> "Means":
        """Return the means of some cells."""
        return cls(
            retrains=_mean(float(one.counts.retrains) for one in results),
            log_loss=_mean(one.figures.log_loss for one in results),
            log_loss_regret=_mean(_value(one.regret.log_loss) for one in results),
            pnl=_mean(one.figures.pnl for one in results),
            pnl_before_costs=_mean(one.figures.pnl_before_costs for one in results),
            pnl_regret=_mean(_value(one.regret.pnl) for one in results),
        )


_ONE_AND_ALL: Final = 2
"""If there is one policy, it is all policies."""


class _Key(NamedTuple):
    interval: str
    horizon_bars: int
    policy: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over the cells of one interval and horizon; `policy` None stands for all policies.

    `pnl_interval` is the 95 % interval of the mean P&L after costs, None if there are too few bars.
    """

    interval: str
    horizon_bars: int
    policy: str | None
    cells: int
    means: Means
    pnl_interval: tuple[float, float] | None

    def document(self) -> dict[str, Any]:
        """Return plain JSON values."""
        figures = asdict(self)
        return {**figures.pop("means"), **figures}


@dataclass(frozen=True, slots=True)
class GridResult:
    """The results of all slots, in the order that they were asked for, and their summaries."""

    slots: tuple[SlotBacktest, ...]
    summaries: tuple[Summary, ...]

    @property
    def cells(self) -> int:
        """How many cells were tried."""
        return sum(len(one.results) for one in self.slots)

    @property
    def failed(self) -> int:
        """How many of them have no figures."""
        return self.cells - sum(len(one.measured) for one in self.slots)

    @property
    def exit_code(self) -> int:
        """0 if any cell has figures, 1 if a retrain failed, else the highest code of a reason."""
        codes = {r.failure.exit_code if r.failure else 0 for one in self.slots for r in one.results}
        return min(codes) if codes & {0, 1} else max(codes)


@dataclass(slots=True)
class _Sums:
    """The results of some cells, and the sum of their returns at each bar, shape (n,)."""

    results: list[BacktestResult] = field(default_factory=list)
    t: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    net: Floats = field(default_factory=lambda: np.empty(0))

    def add(self, result: BacktestResult, t: NDArray[np.int64], track: Track) -> None:
        """Add one cell, from the first bar on at which it answered."""
        self.results.append(result)
        answered = np.flatnonzero(np.isfinite(track.loss))
        if not len(answered):
            return
        t, net = t[answered[0] :], track.net[answered[0] :]
        both = np.union1d(self.t, t)
        total = np.zeros(len(both))
        total[np.searchsorted(both, self.t)] += self.net
        total[np.searchsorted(both, t)] += net
        self.t, self.net = both, total

    def interval(self, horizon_bars: int) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean P&L of a cell."""
        n = len(self.net)
        if not has_enough(n, horizon_bars):
            return None
        mean = self.net / len(self.results)
        _, (low, high) = paired_difference(mean, np.zeros(n), horizon_bars)
        return n * low, n * high


class Summaries:
    """Gathers slot after slot; of their tracks only sums stay in memory."""

    def __init__(self) -> None:
        self._sums = dict[_Key, _Sums]()

    def add(self, slot: SlotBacktest, tracks: Tracks) -> None:
        """Add the cells of one slot that have figures."""
        for result in slot.without_events().measured:
            for policy in (result.policy, None):
                key = _Key(slot.slot.interval, slot.horizon_bars, policy)
                sums = self._sums.setdefault(key, _Sums())
                sums.add(result, tracks.t, tracks.of_policy[result.policy])

    def rows(self) -> list[Summary]:
        """Return one for each policy at each interval and horizon, then one for all policies."""
        keys = sorted(self._sums, key=_order)
        alone = len({key.policy for key in keys}) == _ONE_AND_ALL
        return [_summary(key, self._sums[key]) for key in keys if key.policy or not alone]


def means(slots: Sequence[SlotBacktest]) -> dict[str, Means]:
    """Return the means of each policy over all slots and horizons."""
    of_policy = dict[str, list[BacktestResult]]()
    for slot in slots:
        for result in slot.results:
            listed = of_policy.setdefault(result.policy, [])
            if result.failure is None:
                listed.append(result)
    return {policy: Means.of(results) for policy, results in of_policy.items()}


def _order(key: _Key) -> tuple[int, int, bool]:
    return INTERVAL_MS[key.interval], key.horizon_bars, key.policy is None


def _summary(key: _Key, sums: _Sums) -> Summary:
    found, interval = Means.of(sums.results), sums.interval(key.horizon_bars)
    return Summary(*key, cells=len(sums.results), means=found, pnl_interval=interval)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
