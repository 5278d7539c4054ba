"""Measure the predictions and signals of a sequence of models.

Every policy is measured on the same bars, with the probabilities of the model that was live at
each bar, so that the figures of two policies can be compared.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.outcomes import decision
from retrain import labels
from retrain.scores import FEE_BPS, row_log_loss

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """The predictions for each bar, oldest first; NaN where no model predicted.

    `t` (n,) open times in ms, `close` (n,), `p` (n, 3) DOWN, NEUTRAL, UP, `up` and `down` (n,)
    the signal thresholds in force.
    """

    t: NDArray[np.int64]
    close: Floats
    p: Floats
    up: Floats
    down: Floats


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of one policy; None where there was nothing to measure.

    `skill` is 1 - log loss / log loss of the class shares of the same bars, `ic` the correlation
    of p_up - p_down with the future return. Signals are followed one at a time; `win_rate` is
    the share that gained before fees, `pnl` the sum of their returns after fees, a fraction of
    one stake, `drawdown` its largest fall from a peak.
    """

    bars: int
    log_loss: float | None
    skill: float | None
    ic: float | None
    signals: int
    win_rate: float | None
    pnl: float
    drawdown: float

    def document(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SimulatedTrade:
    """A signal followed to its horizon; `closed` indexes its last bar, `gain` is before fees."""

    closed: int
    gain: float


def measure(
    answers: Answers, horizon_bars: int, threshold: labels.Threshold, fee_bps: float = FEE_BPS
) -> tuple[Performance, Floats]:
    """Return the figures and the running sum of the returns after fees, shape (n,).

    Args:
        answers: The predictions.
        horizon_bars: Bars from a prediction to its outcome.
        threshold: The return that separates NEUTRAL from UP and DOWN.
        fee_bps: Cost of a round trip in basis points.
    """
    close = answers.close
    future = labels.future_return(close, horizon_bars)
    made = labels.label(close, horizon_bars, threshold.per_bar(close, horizon_bars))
    known = np.isfinite(answers.p).all(axis=1) & (made != labels.UNKNOWN)
    traded = trades(answers, horizon_bars)
    net = np.zeros(len(close))
    for trade in traded:
        net[trade.closed] += trade.gain - fee_bps / 1e4
    equity = np.cumsum(net)
    loss, skill, ic = _scores(made[known], answers.p[known], future[known])
    gains = np.array([trade.gain for trade in traded])
    figures = Performance(
        bars=int(known.sum()),
        log_loss=loss,
        skill=skill,
        ic=ic,
        signals=len(gains),
        win_rate=float((gains > 0).mean()) if len(gains) else None,
        pnl=float(equity[-1]) if len(equity) else 0.0,
        drawdown=float((np.maximum.accumulate(np.maximum(equity, 0)) - equity).max(initial=0.0)),
    )
    return figures, equity


def trades(answers: Answers, horizon_bars: int) -> list[SimulatedTrade]:
    """Follow the signals one at a time, as the daemon's own record does."""
    step = int(np.median(np.diff(answers.t))) if len(answers.t) > 1 else 0
    spoke = np.flatnonzero((answers.p[:, 2] >= answers.up) | (answers.p[:, 0] >= answers.down))
    done, free = [], 0
    for i in spoke.tolist():
        end = i + horizon_bars
        if i < free or end >= len(answers.t):
            continue
        free = end
        if answers.t[end] - answers.t[i] != horizon_bars * step:
            continue  # bars are missing in between, so the result is not known
        down, neutral, up = answers.p[i].tolist()
        side = decision((down, neutral, up), float(answers.up[i]), float(answers.down[i]))
        done.append(SimulatedTrade(end, side * float(answers.close[end] / answers.close[i] - 1)))
    return done


def _scores(
    made: NDArray[np.int8], p: Floats, future: Floats
) -> tuple[float | None, float | None, float | None]:
    if len(made) < 2:  # noqa: PLR2004 - a correlation needs two
        return None, None, None
    prior = np.broadcast_to(labels.shares(made), p.shape)
    loss, base = float(row_log_loss(made, p).mean()), float(row_log_loss(made, prior).mean())
    lean = p[:, 2] - p[:, 0]
    moves = np.ptp(lean) > 0 and np.ptp(future) > 0
    ic = float(np.corrcoef(lean, future)[0, 1]) if moves else None
    return loss, 1 - loss / base if base > 0 else None, ic
