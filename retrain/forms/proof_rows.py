"""Rows on which the portable form must say what the model says: random, tied, extreme."""

from typing import Final

import numpy as np

from retrain.forms.parts import Floats, Parts

PROOF_ROWS: Final = 10_000
_HUGE: Final = 1e300
_HALF: Final = 0.5
_TINY: Final = 5e-324
_EXTREME: Final = (0.0, -0.0, _TINY, -_TINY, _HUGE, -_HUGE, 1e38, -1e38, 1e-30, 1.0, -1.0)


def proof_rows(parts: Parts, features: Floats) -> Floats:
    """Return `PROOF_ROWS` finite rows, shape (n, 17), the same for the same input.

    A third are rows that happened with every value moved a little, a third sit on the edges that
    the trees ask about or right beside them, and in a third half of the values are extreme.

    Args:
        parts: The fitted stack.
        features: Rows that happened, shape (n, 17).
    """
    rng = np.random.default_rng(0)
    columns = features.shape[1]
    rows = features[rng.integers(0, len(features), PROOF_ROWS)]
    rows *= rng.uniform(0.9, 1.1, rows.shape)
    third = PROOF_ROWS // 3
    for column in range(columns):
        edges = parts.threshold[(parts.feature == column) & np.isfinite(parts.threshold)]
        if not len(edges):
            continue  # no tree looks at it
        tied = rng.choice(np.unique(edges), 2 * third)
        toward = rng.choice([-np.inf, np.inf], 2 * third)
        beside = rng.random(2 * third) < _HALF
        rows[: 2 * third, column] = np.where(beside, np.nextafter(tied, toward), tied)
    extreme = rng.random((third, columns)) < _HALF
    rows[:third][extreme] = rng.choice(_EXTREME, int(extreme.sum()))
    return rows
