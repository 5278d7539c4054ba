"""Carry probabilities from one label threshold to another, so that two models can be compared.

A retrain may choose another threshold than the live model's. Judged by either of them, the
model that learnt it has the advantage. So both are carried to one threshold in the middle.

The return is taken to follow a logistic distribution, of which three probabilities give the
centre and the width: the cumulative logit model of P. McCullagh, "Regression models for ordinal
data", Journal of the Royal Statistical Society B 42 (1980).
"""

import math

# A probability that is nearer to 0 or 1 has no finite width.
_TINY = 1e-9

Probabilities = tuple[float, float, float]


def middle(ours: float, theirs: float) -> float:
    """Return the threshold as many times above the one as it is below the other."""
    return math.sqrt(ours * theirs)


def carried(p: Probabilities, times: float) -> Probabilities:
    """Return the probabilities of moves beyond a threshold `times` as large as the model's own.

    Args:
        p: Probabilities of DOWN, NEUTRAL, UP.
        times: Above 0; 1 leaves them as they are.
    """
    if times == 1:
        return p
    down, up = (max(_TINY, min(1 - _TINY, side)) for side in (p[0], p[2]))
    low, high = _logit(down), -_logit(up)
    centre, half = (low + high) / 2, times * max(0.0, high - low) / 2
    down, up = _share(centre - half), _share(-centre - half)
    return down, 1 - down - up, up


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _share(logit: float) -> float:
    return (1 + math.tanh(logit / 2)) / 2  # which no logit makes overflow
