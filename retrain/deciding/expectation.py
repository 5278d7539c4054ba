"""Choose how often a model speaks: where the return expected after costs is highest.

A model that knows when the market moves, and not where, pays the costs at every signal. The
realised return of a few hundred overlapping signals is mostly luck, and the best of many
thresholds mostly the luckiest. So one number is estimated from all rows instead: how much of the
return that the probabilities promise came true, at its 95 % lower bound. It scales the promise of
every bar, and each side speaks as often as the sum of what is left after costs is highest.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.deciding.block_bootstrap import resampler
from retrain.deciding.decision import DOWN, UP, SignalThreshold, decide, signal_threshold
from retrain.deciding.earning import SignalEarning, earns, net_returns

MOST_SIGNALS: Final = 0.2
"""Share of the bars with a signal of one side, at most."""
_RATES: Final = (0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.14, MOST_SIGNALS)
_LEAST_SIGNALS: Final = 10
"""Signals of a side to expect in a judged block: with fewer, one without any is likely."""
_QUARTERS: Final = np.array([0.1, 0.2, 0.3, 0.4])
_ONE_SIDED: Final = 0.05
_BP: Final = 1e4

Probabilities = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """The least share of the bars with a signal of each side, and the cost of a round trip."""

    min_signal_rate: float = 0.005
    cost_bps: float = 9.0


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Rows in time order with probabilities of models that were not trained on them.

    `probabilities` (n, 3), `labels` (n,) 0 to 2, `future_return` (n,); `judged_rows` is the
    length of the block that judges the model.
    """

    probabilities: Probabilities
    labels: NDArray[np.int8]
    future_return: NDArray[np.float64]
    horizon_bars: int
    judged_rows: int


@dataclass(frozen=True, slots=True)
class SideRule:
    """One side of a rule on the out-of-fold rows.

    `share` of the bars has its signal, `quietest` is the least share in any stretch as long as
    the judged block. `expected_bp` is the expected return of a signal after costs, shrunk for
    luck, `earned` what its signals earned.
    """

    share: float
    quietest: float
    expected_bp: float | None
    earned: SignalEarning

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "share": self.share,
            "quietest": self.quietest,
            "expected_bp": self.expected_bp,
            **self.earned.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """Thresholds with their out-of-fold estimate.

    `kept` is the fraction of the promised return that came true, `kept_low` its 95 % lower bound.
    """

    signal: SignalThreshold
    settings: RuleSettings
    kept: float
    kept_low: float
    up: SideRule
    down: SideRule

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the thresholds."""
        return {
            "min_signal_rate": self.settings.min_signal_rate,
            "cost_bps": self.settings.cost_bps,
            "kept": self.kept,
            "kept_low": self.kept_low,
            "up": self.up.as_dict(),
            "down": self.down.as_dict(),
        }


def choose(rows: OutOfFold, settings: RuleSettings) -> DecisionRule:
    """Choose the thresholds of a model.

    Where no rate is expected to earn anything, a side speaks on the least share of the bars.

    Args:
        rows: What the rule is chosen on.
        settings: The least share and the costs.
    """
    p, promised = rows.probabilities, _promised(rows)
    kept, kept_low = _kept(promised, rows)
    expected = max(0.0, kept_low) * promised
    least = max(settings.min_signal_rate, _LEAST_SIGNALS / rows.judged_rows)
    least = min(least, max(MOST_SIGNALS, settings.min_signal_rate))
    rates = [least, *(rate for rate in _RATES if rate > least and kept_low > 0)]
    cost, worth = settings.cost_bps / _BP, np.zeros((2, len(rates)))
    for i, rate in enumerate(rates):
        decided = decide(p, *signal_threshold(p, rate, rate))
        worth[0, i] = (expected[decided == UP] - cost).sum()
        worth[1, i] = (-expected[decided == DOWN] - cost).sum()
    up, down = (rates[int(one.argmax())] if one.max() > 0 else least for one in worth)
    signal = _held(p, up, down, least)
    decided = decide(p, *signal)
    return DecisionRule(
        signal,
        settings,
        kept,
        kept_low,
        _side(rows, decided, expected, UP, settings.cost_bps),
        _side(rows, decided, -expected, DOWN, settings.cost_bps),
    )


def _promised(rows: OutOfFold) -> NDArray[np.float64]:
    """Return what the probabilities promise: each side's mean return times its probability.

    The mean of all rows is taken away: how the market drifted while the model learnt is luck.
    """
    promised = np.zeros(len(rows.labels))
    for side in (DOWN, UP):
        happened = rows.future_return[rows.labels == side]
        promised += rows.probabilities[:, side] * (happened.mean() if len(happened) else 0.0)
    centred: NDArray[np.float64] = promised - promised.mean()
    return centred


def _kept(promised: NDArray[np.float64], rows: OutOfFold) -> tuple[float, float]:
    """Return the slope of the return on what was promised, and its one-sided lower bound.

    The bound is the plain 5 % quantile of the resamples. Where they have few blocks it is less
    sure than its name, for `interval` goes further out there.
    """
    came, spread = promised * (rows.future_return - rows.future_return.mean()), promised**2
    if not spread.any():
        return 0.0, 0.0
    pick = resampler(len(promised), rows.horizon_bars)
    resampled = pick(came) / np.maximum(pick(spread), np.finfo(float).tiny)
    return float(came.sum() / spread.sum()), float(np.quantile(resampled, _ONE_SIDED))


def _held(p: Probabilities, up: float, down: float, least: float) -> SignalThreshold:
    """Return thresholds for these rates, so that a side at the least rate speaks lately too.

    One wild month would otherwise set a threshold that no bar of a calm month reaches. So a side
    at the least rate has at most the mean of the thresholds of the quarters of the rows, in which
    the newest count most.
    """
    quarters = np.array([signal_threshold(part, up, down) for part in np.array_split(p, 4)])
    lately = _QUARTERS @ quarters
    most = SignalThreshold(*np.where(np.array([up, down]) > least, np.inf, lately))
    return signal_threshold(p, up, down, most)


def _side(
    rows: OutOfFold,
    decided: NDArray[np.int8],
    expected: NDArray[np.float64],
    side: int,
    cost_bps: float,
) -> SideRule:
    spoke = decided == side
    of_side = np.where(spoke, decided, 1).astype(np.int8)
    net = net_returns(of_side, rows.future_return, cost_bps)
    stretch = max(1, min(rows.judged_rows, len(decided) // 2))
    sums = np.concatenate(([0], np.cumsum(spoke)))
    return SideRule(
        share=float(spoke.mean()),
        quietest=float((sums[stretch:] - sums[:-stretch]).min() / stretch),
        expected_bp=float(expected[spoke].mean()) * _BP - cost_bps if spoke.any() else None,
        earned=earns(net, rows.horizon_bars),
    )
