"""Measure the predictions and signals of a sequence of models.

Every policy is measured on the same bars, with the probabilities of the model that was live at
each bar, so that the figures of two policies can be compared.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.outcomes import decision
from retrain import labels
from retrain.dataset import reaches_across
from retrain.deciding.earning import SignalEarning, earns
from retrain.scores import row_log_loss

Floats = NDArray[np.float64]

_BP: Final = 1e4


@dataclass(frozen=True, slots=True)
class Answers:
    """The predictions for each bar, oldest first; NaN where no model predicted.

    `t` (n,) open times in ms, `close` (n,), `p` (n, 3) DOWN, NEUTRAL, UP, `up` and `down` (n,)
    the signal thresholds in force, `limit` (n,) the return that the labels of the live model
    separate NEUTRAL at.
    """

    t: NDArray[np.int64]
    close: Floats
    p: Floats
    up: Floats
    down: Floats
    limit: Floats


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of one policy; None where there was nothing to measure.

    `skill` is 1 - log loss / log loss of the class shares of the same bars, `ic` the correlation
    of p_up - p_down with the future return. Signals are followed one at a time; `win_rate` is
    the share that gained before costs, `pnl` the sum of their returns after costs, a fraction of
    one stake, `pnl_before_costs` the same sum without costs, `drawdown` the largest fall of the
    former from a peak; `earned` is what a signal earned after costs, with its interval.
    """

    bars: int
    log_loss: float | None
    skill: float | None
    ic: float | None
    signals: int
    win_rate: float | None
    pnl: float
    pnl_before_costs: float
    drawdown: float
    earned: SignalEarning

    @property
    def pnl_interval(self) -> tuple[float, float] | None:
        """95 % interval of `pnl`; None if there were too few signals."""
        low, high = self.earned.low_bp, self.earned.high_bp
        if low is None or high is None:
            return None
        return self.signals * low / _BP, self.signals * high / _BP

    def document(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        figures = {one.name: getattr(self, one.name) for one in fields(self)}
        return figures | {"pnl_interval": self.pnl_interval, "earned": self.earned.as_dict()}


@dataclass(frozen=True, slots=True)
class Track:
    """What a policy lost and earned, bar by bar, shape (n,) each.

    `loss` is the log loss of the answer, NaN where none was judged; `limit` the return that its
    question separates NEUTRAL at; `net` the return after costs of the signal that ended there.
    """

    loss: Floats
    limit: Floats
    net: Floats

    @property
    def equity(self) -> Floats:
        """The running sum of the returns after costs, shape (n,)."""
        return np.cumsum(self.net)


@dataclass(frozen=True, slots=True)
class SimulatedTrade:
    """A signal followed to its horizon; `closed` indexes its last bar, `gain` is before costs."""

    closed: int
    gain: float


def measure(answers: Answers, horizon_bars: int, cost_bps: float) -> tuple[Performance, Track]:
    """Return the figures, and what they are the sums of.

    Args:
        answers: The predictions.
        horizon_bars: Bars from a prediction to its outcome.
        cost_bps: Cost of a round trip in basis points.
    """
    close = answers.close
    future = labels.future_return(close, horizon_bars)
    made = labels.label(close, horizon_bars, answers.limit)
    made[reaches_across(answers.t, horizon_bars)] = labels.UNKNOWN
    known = np.isfinite(answers.p).all(axis=1) & (made != labels.UNKNOWN)
    loss = np.full(len(close), np.nan)
    loss[known] = row_log_loss(made[known], answers.p[known])
    traded = trades(answers, horizon_bars)
    gains = np.array([trade.gain for trade in traded])
    net = np.zeros(len(close))
    returns = gains - cost_bps / _BP
    net[[trade.closed for trade in traded]] = returns
    track = Track(loss, answers.limit, net)
    skill, ic = _scores(made[known], answers.p[known], future[known])
    figures = Performance(
        bars=int(known.sum()),
        log_loss=float(loss[known].mean()) if known.any() else None,
        skill=skill,
        ic=ic,
        signals=len(gains),
        win_rate=float((gains > 0).mean()) if len(gains) else None,
        pnl=float(net.sum()),
        pnl_before_costs=float(gains.sum()),
        drawdown=_drawdown(track.equity),
        earned=earns(returns, 1),
    )
    return figures, track


def trades(answers: Answers, horizon_bars: int) -> list[SimulatedTrade]:
    """Follow the signals one at a time, as the daemon's own record does."""
    across = reaches_across(answers.t, horizon_bars)
    spoke = np.flatnonzero((answers.p[:, 2] >= answers.up) | (answers.p[:, 0] >= answers.down))
    done, free = [], 0
    for i in spoke.tolist():
        end = i + horizon_bars
        down, neutral, up = answers.p[i].tolist()
        side = decision((down, neutral, up), float(answers.up[i]), float(answers.down[i]))
        if not side or i < free or end >= len(answers.t):
            continue
        free = end
        if across[i]:
            continue  # bars are missing in between, so the result is not known
        done.append(SimulatedTrade(end, side * float(answers.close[end] / answers.close[i] - 1)))
    return done


def _scores(made: NDArray[np.int8], p: Floats, future: Floats) -> tuple[float | None, float | None]:
    """Return skill and directional IC."""
    if len(made) < 2:  # noqa: PLR2004 - a correlation needs two
        return None, None
    prior = np.broadcast_to(labels.shares(made), p.shape)
    loss, base = float(row_log_loss(made, p).mean()), float(row_log_loss(made, prior).mean())
    lean = p[:, 2] - p[:, 0]
    moves = np.ptp(lean) > 0 and np.ptp(future) > 0
    ic = float(np.corrcoef(lean, future)[0, 1]) if moves else None
    return 1 - loss / base if base > 0 else None, ic


def _drawdown(equity: Floats) -> float:
    return float((np.maximum.accumulate(np.maximum(equity, 0)) - equity).max(initial=0.0))
