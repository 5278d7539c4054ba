"""Move the signal thresholds to where the fitted model's own answers stand.

Thresholds are read off the answers of the models of the folds. On the wildest bars UP and DOWN both
reach theirs, and the larger excess decides: whether p_up - p_down is above or below the difference
of the thresholds. Within one model that lean hardly varies on such bars, and from one fold's
model to the next it does. So the model itself may lean to one side of it on all of them, and the
other side never speaks. Its own answers to the same bars say by how much it leans differently.
It was fitted to their labels, but one median over all kinds of labels is all that is used.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrain.deciding.decision import DOWN, UP, SignalThreshold

_PARTS: Final = 4
"""One storm may hold all the wildest bars of the rows, so they are taken from each quarter."""
_SHARE: Final = 0.02
_LEAST: Final = 20

Probabilities = NDArray[np.float64]


def wildest(probabilities: Probabilities) -> NDArray[np.intp]:
    """Return the rows of each quarter on which UP and DOWN together are most probable.

    Args:
        probabilities: Shape (n, 3), in time order.

    Returns:
        Shape (4, k).
    """
    happens = probabilities[:, UP] + probabilities[:, DOWN]
    parts = np.array_split(np.arange(len(happens)), _PARTS)
    least = min(len(part) for part in parts)
    k = min(max(_LEAST, round(_SHARE * least)), least)
    return np.array([part[np.argsort(happens[part], kind="stable")[-k:]] for part in parts])


def moved(signal: SignalThreshold, theirs: Probabilities, own: Probabilities) -> SignalThreshold:
    """Return the thresholds for the model's own answers, half of the difference on each side.

    Args:
        signal: Thresholds read off the answers out of fold.
        theirs: These answers on the wildest rows, shape (4, k, 3).
        own: The model's answers to the same rows, of the same shape.
    """
    further = (own[..., UP] - own[..., DOWN]) - (theirs[..., UP] - theirs[..., DOWN])
    half = float(np.median(further, axis=1).mean()) / 2
    return SignalThreshold(float(signal.up + half), float(signal.down - half))
