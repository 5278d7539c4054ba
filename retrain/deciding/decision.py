"""Turn three probabilities into a decision, with thresholds that belong to the model.

A calibrated model almost never gives UP or DOWN the highest probability, so argmax would always
decide NEUTRAL. Instead each side has a signal threshold, set on out-of-fold rows and stored with
the model. This module needs numpy only: daemon and bot use the same rule.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DOWN: Final = 0
NEUTRAL: Final = 1
UP: Final = 2
_TURNS: Final = 200
_SETTLED: Final = 1e-9


class SignalThreshold(NamedTuple):
    """The signal thresholds: probabilities from which each side gives a signal."""

    up: float
    down: float


def signal_threshold(probabilities: NDArray[np.float64], signal_rate: float) -> SignalThreshold:
    """Set the thresholds so that each side gives a signal on `signal_rate` of these rows.

    On volatile bars both sides reach their thresholds, and only one can win. With each threshold
    set alone, one side would win nearly all of these bars. So each is set given the other, in
    turns, until both rates hold.

    Args:
        probabilities: Shape (n, 3), of rows that the model did not train on.
        signal_rate: Fraction of the bars with a signal of each side, above 0, below 0.5.
    """
    p_up, p_down = probabilities[:, UP], probabilities[:, DOWN]
    up, down = _upper(p_up, signal_rate), _upper(p_down, signal_rate)
    for _ in range(_TURNS):
        before = up, down
        # UP wins a row if up <= p_up and up - down < p_up - p_down.
        up = _upper(np.minimum(p_up, p_up - p_down + down), signal_rate)
        down = _upper(np.minimum(p_down, p_down - p_up + up), signal_rate)
        if max(abs(up - before[0]), abs(down - before[1])) < _SETTLED:
            break
    return SignalThreshold(up, down)


def decide(probabilities: NDArray[np.float64], up: float, down: float) -> NDArray[np.int8]:
    """Return DOWN, NEUTRAL or UP for every row.

    A side gives a signal when its probability reaches its threshold. If both do, the larger
    excess wins, and equal excesses give NEUTRAL.

    Args:
        probabilities: Shape (n, 3), columns DOWN, NEUTRAL, UP.
        up: Threshold of UP.
        down: Threshold of DOWN.

    Returns:
        Shape (n,), 0, 1 or 2.
    """
    up_excess, down_excess = probabilities[:, UP] - up, probabilities[:, DOWN] - down
    decided = np.full(len(probabilities), NEUTRAL, dtype=np.int8)
    decided[(up_excess >= 0) & (up_excess > down_excess)] = UP
    decided[(down_excess >= 0) & (down_excess > up_excess)] = DOWN
    return decided


def _upper(values: NDArray[np.float64], rate: float) -> float:
    # "higher" takes a value that occurred, so that ties never add signals.
    return float(np.quantile(values, 1 - rate, method="higher"))
