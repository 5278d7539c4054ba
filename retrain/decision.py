"""Turn three probabilities into a decision: the rule is part of the model.

An honest, calibrated model almost never gives UP or DOWN the highest probability, so
argmax would say NEUTRAL for ever. One threshold per side, fixed on out-of-fold rows,
travels with the model instead. Needs numpy only: daemon and bot decide with it too.
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
    """Probabilities from which each side speaks."""

    up: float
    down: float


def signal_threshold(probabilities: NDArray[np.float64], signal_rate: float) -> SignalThreshold:
    """Fix the thresholds so that `decide` lets each side speak on `signal_rate` of these rows.

    Volatile bars raise both sides at once, and there only one can win. With each threshold
    fixed alone, one side would win nearly all of them and silence the other; so each is fixed
    given the other, in turns, until both rates hold.

    Args:
        probabilities: Shape (n, 3), of rows that the model did not train on.
        signal_rate: Fraction of the bars on which each side shall speak, above 0, below 0.5.
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

    A side speaks when its probability reaches its threshold; if both do, the larger
    excess wins, and equal excesses cancel out.

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
    # "higher": a value that occurred, so that ties never make a side speak more often.
    return float(np.quantile(values, 1 - rate, method="higher"))
