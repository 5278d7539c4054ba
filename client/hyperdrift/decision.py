"""Turn three probabilities into a decision: the rule is part of the model."""

from typing import Final

DOWN: Final = 0
NEUTRAL: Final = 1
UP: Final = 2


def decide(p_down: float, p_up: float, *, down: float, up: float) -> int:
    """Return DOWN, NEUTRAL or UP for one bar.

    UP or DOWN is returned if its probability reaches its threshold. If both do, the one
    that exceeds its threshold by more is returned; if they exceed it equally, NEUTRAL.

    Args:
        p_down: Probability of DOWN.
        p_up: Probability of UP.
        down: Signal threshold of DOWN, a probability.
        up: Signal threshold of UP, a probability.
    """
    up_excess, down_excess = p_up - up, p_down - down
    if up_excess >= 0 and up_excess > down_excess:
        return UP
    if down_excess >= 0 and down_excess > up_excess:
        return DOWN
    return NEUTRAL
