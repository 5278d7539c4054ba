"""Turn three probabilities into a decision: the rule is part of the model."""

from typing import Final

DOWN: Final = 0
NEUTRAL: Final = 1
UP: Final = 2


def decide(p_down: float, p_up: float, *, down: float, up: float) -> int:
    """Return DOWN, NEUTRAL or UP for one bar.

    A side speaks when its probability reaches its threshold; if both do, the larger
    excess wins, and equal excesses cancel out.

    Args:
        p_down: Probability of DOWN.
        p_up: Probability of UP.
        down: Threshold of DOWN.
        up: Threshold of UP.
    """
    up_excess, down_excess = p_up - up, p_down - down
    if up_excess >= 0 and up_excess > down_excess:
        return UP
    if down_excess >= 0 and down_excess > up_excess:
        return DOWN
    return NEUTRAL
