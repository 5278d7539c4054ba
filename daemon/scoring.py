"""Score one closed bar: the newest feature row, and what the live model says of it.

The same function computes features here and in training, on the last bars of the
store, so both agree by construction. The previous champion scores beside the live
model while it is on probation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrain import features
from retrain.artifact import LoadedModel

Probabilities = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """`row` has the 17 features; a probability triple is None where no model could answer."""

    row: tuple[float, ...]
    p: Probabilities | None
    shadow_p: Probabilities | None

    @property
    def complete(self) -> bool:
        """Whether every feature is defined."""
        return all(map(math.isfinite, self.row))


def score(
    frame: Mapping[str, NDArray[Any]], champion: LoadedModel | None, shadow: LoadedModel | None
) -> Score:
    """Score the last bar of `frame` (columns as `retrain.features.compute` takes them).

    Takes about ten milliseconds a model: call it in a thread.
    """
    last = features.compute(frame)[-1]
    row = tuple(map(float, last))
    known = bool(np.isfinite(last).all())
    return Score(
        row,
        _ask(champion, last) if known else None,
        _ask(shadow, last) if known else None,
    )


def _ask(model: LoadedModel | None, row: NDArray[np.float64]) -> Probabilities | None:
    if model is None:
        return None
    down, neutral, up = model.predict(row.reshape(1, -1))[0]
    return float(down), float(neutral), float(up)
