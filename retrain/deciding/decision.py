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


NO_LIMIT: Final = SignalThreshold(np.inf, np.inf)


def signal_threshold(
    probabilities: NDArray[np.float64],
    up_rate: float,
    down_rate: float,
    most: SignalThreshold = NO_LIMIT,
) -> SignalThreshold:
    """Set the thresholds so that each side gives a signal on its share of these rows.

    On volatile bars both sides reach their thresholds, and only one can win. With each threshold
    set alone, one side would win nearly all of these bars. So each is set given the other, in
    turns, until both rates hold.

    Args:
        probabilities: Shape (n, 3), of rows that the model did not train on.
        up_rate: Fraction of the rows with a signal UP; both fractions together are at most 1.
        down_rate: Fraction of the rows with a signal DOWN.
        most: No threshold is above these; where one holds, its side speaks more often.
    """
    p_up, p_down = probabilities[:, UP], probabilities[:, DOWN]
    up, down = min(most.up, _upper(p_up, up_rate)), min(most.down, _upper(p_down, down_rate))
    for _ in range(_TURNS):
        before = up, down
        # UP wins a row if up <= p_up and up - down < p_up - p_down.
        up = min(most.up, _upper(np.minimum(p_up, p_up - p_down + down), up_rate))
        down = min(most.down, _upper(np.minimum(p_down, p_down - p_up + up), down_rate))
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
