"""Say what a signal earns after costs, and whether that is more than luck."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.deciding.block_bootstrap import interval, resampler

_BP: Final = 1e4
_LEAST: Final = 10
"""Trades before there is an interval: with fewer, one month's luck looks like certainty."""


@dataclass(frozen=True, slots=True)
class SignalEarning:
    """Mean return of a signal after costs, basis points, with its 95 % interval.

    `trades` are the signals that a bot with one position at a time would have taken. The figures
    are None if there were too few.
    """

    signals: int
    trades: int
    mean_bp: float | None = None
    low_bp: float | None = None
    high_bp: float | None = None

    @property
    def verdict(self) -> str:
        """`shown` if the interval is above 0, `loses` if it is below, else `not shown`."""
        if self.low_bp is None or self.high_bp is None:
            return "not shown"
        if self.low_bp > 0:
            return "shown"
        return "loses" if self.high_bp < 0 else "not shown"

    def __str__(self) -> str:
        if self.mean_bp is None:
            return "no signal: not shown"
        text = f"{self.mean_bp:+.1f} bp a signal after costs, "
        if self.low_bp is not None:
            text += f"95 % {self.low_bp:+.1f} to {self.high_bp:+.1f} "
        text += f"on {self.signals:,} signal{'s' * (self.signals != 1)}"
        if self.low_bp is None:
            trades = f"{self.trades:,} trade{'s' * (self.trades != 1)}"
            text += f" in {trades}, too few for an interval"
        return f"{text}: {self.verdict}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "signals": self.signals,
            "trades": self.trades,
            "mean_bp": self.mean_bp,
            "low_bp": self.low_bp,
            "high_bp": self.high_bp,
            "verdict": self.verdict,
        }


def earns(net: NDArray[np.float64], horizon_bars: int, seed: int = 0) -> SignalEarning:
    """Estimate what a signal earns.

    Neighbouring signals overlap and share their luck, so blocks that are longer than the horizon
    are resampled. Of few trades in many blocks, so many count as blocks: see `interval`.

    Args:
        net: Return of the signal at each bar after costs, a fraction, shape (n,), in time order;
            NaN where there was no signal. Or returns of trades that do not overlap.
        horizon_bars: Bars that a signal is held; 1 for trades that do not overlap.
        seed: Seed of the bootstrap.
    """
    spoke = np.isfinite(net)
    signals, trades = int(spoke.sum()), len(one_at_a_time(spoke, horizon_bars))
    if not signals:
        return SignalEarning(0, 0)
    gained = np.where(spoke, net, 0.0) * _BP
    mean = float(gained.sum() / signals)
    if trades < _LEAST:
        return SignalEarning(signals, trades, mean)
    pick = resampler(len(net), horizon_bars, seed)
    counted = pick(spoke.astype(np.float64))
    each = pick(gained)[counted > 0] / counted[counted > 0]
    low, high = interval(each, min(trades, pick.blocks))
    return SignalEarning(signals, trades, mean, low, high)


def one_at_a_time(spoke: NDArray[np.bool_], horizon_bars: int) -> list[int]:
    """Return the bars of the signals that a bot takes that holds one position at a time.

    Args:
        spoke: Whether there is a signal at each bar, shape (n,).
        horizon_bars: Bars that a position is held.
    """
    taken: list[int] = []
    for bar in np.flatnonzero(spoke).tolist():
        if not taken or bar >= taken[-1] + horizon_bars:
            taken.append(bar)
    return taken


def net_returns(
    decided: NDArray[np.int8], future_return: NDArray[np.float64], cost_bps: float
) -> NDArray[np.float64]:
    """Return what each signal gained after costs, a fraction, NaN where there was none.

    Args:
        decided: DOWN, NEUTRAL or UP at each bar, shape (n,).
        future_return: The return over the horizon from each bar, shape (n,).
        cost_bps: Cost of a round trip in basis points.
    """
    side = decided.astype(np.float64) - 1.0
    return np.where(side != 0, side * future_return - cost_bps / _BP, np.nan)
