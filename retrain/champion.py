"""The live model as a retrain uses it: its predictions and the settings behind them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Anchors = Sequence[tuple[int, float]]
"""Open time in ms UTC and close of some bars."""


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
        model: The fitted estimator.
        anchors: Some bars that it learnt from.
    """

    model_id: str
    schema_hash: str
    horizon_bars: int
    threshold: float | str
    trained_to_ms: int
    up: float
    down: float
    model: Any
    anchors: Anchors = field(default=(), repr=False)

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of DOWN, NEUTRAL, UP, shape (n, 3), for raw rows (n, 17)."""
        # Named columns, because the model was fitted with names and warns without them.
        names = getattr(self.model, "feature_names_in_", None)
        frame = pd.DataFrame(rows, columns=None if names is None else list(names))
        return np.asarray(self.model.predict_proba(frame), dtype=np.float64)
