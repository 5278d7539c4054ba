"""The live model as a retrain uses it: its predictions and the settings behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Anchors = Sequence[tuple[int, float]]
"""Open time in ms UTC and close of some bars."""
Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class ChampionModel:
    """The live model, as a challenger is compared with it.

    Attributes:
        model_id: `<YYYYmmdd_HHMMSS>_<schema_hash>`.
        schema_hash: Names the features that it reads.
        horizon_bars: How many bars ahead its labels looked.
        threshold: The fraction that its labels used, or the text `vol:<multiple>`.
        trained_to_ms: Close of the newest bar that it learnt from, ms UTC.
        up: Probability of UP from which it signals UP.
        down: Probability of DOWN from which it signals DOWN.
        predict: Returns the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for raw rows (n, 17).
        anchors: Some bars that it learnt from.
    """

    model_id: str
    schema_hash: str
    horizon_bars: int
    threshold: float | str
    trained_to_ms: int
    up: float
    down: float
    predict: Predict = field(repr=False)
    anchors: Anchors = field(default=(), repr=False)
