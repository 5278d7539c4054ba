"""Measure what a person wants to see before trusting a model, beside its scores.

Everything is measured on the test block, which the twin was not trained on. The values are part
of the certificate, so that a report can be drawn again and other programs can read them.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain import features
from retrain.champion import ChampionModel
from retrain.dataset import Rows
from retrain.deciding.decision import NEUTRAL, decide
from retrain.labels import DOWN, UP, shares
from retrain.scores import row_log_loss
from retrain.stacking.meta import CLASSES
from retrain.stacking.stack import BASE_NAMES
from retrain.stacking.twin import Model

CLASS_NAMES: Final = ("DOWN", "NEUTRAL", "UP")
MODEL_NAMES: Final = {
    "gb": "gradient boosting",
    "rf": "random forest",
    "et": "extra trees",
    "hgb": "histogram boosting",
}
_BINS: Final = 10
_IMPORTANCE_ROWS: Final = 800
_POINTS: Final = 240
_LEAST_NEW: Final = 50

Probabilities = NDArray[np.float64]


def find(
    rows: Rows,
    close_ms: NDArray[np.int64],
    given: Probabilities,
    twin: Model,
    *,
    champion: ChampionModel | None,
    fee_bps: float,
) -> dict[str, Any]:
    """Return plain JSON values.

    Args:
        rows: All rows.
        close_ms: When each bar of the frame closed.
        given: Base models' predictions for rows they were not trained on, shape (n, 12).
        twin: The model that is judged.
        champion: The live model, if any: drift is measured since its training.
        fee_bps: Cost of a round trip in basis points.
    """
    x, y = rows.features[rows.test], rows.labels[rows.test]
    ours = twin.stack.predict(x)
    return {
        "models": _models(rows, given[rows.test], ours),
        "reliability": {
            name: _reliability(y == c, ours[:, c]) for c, name in enumerate(CLASS_NAMES)
        },
        "equity": _equity(rows, close_ms, decide(ours, *twin.signal), fee_bps),
        "importance": _importance(twin, x, y),
        "drift": _drift(rows, close_ms, champion),
    }


def _models(rows: Rows, given: Probabilities, ours: Probabilities) -> list[dict[str, Any]]:
    """Score the class shares, every base model, their plain average and the stack."""
    y, future = rows.labels[rows.test], rows.future_return[rows.test]
    prior = np.broadcast_to(shares(rows.labels[rows.train]), ours.shape)
    bases = given.reshape(len(given), len(BASE_NAMES), CLASSES)
    asked = {"class shares alone": prior}
    asked |= {MODEL_NAMES.get(name, name): bases[:, i] for i, name in enumerate(BASE_NAMES)}
    asked |= {"their plain average": bases.mean(axis=1), "this model": ours}
    known = ~np.isnan(given).any(axis=1)
    base = row_log_loss(y[known], prior[known]).mean()
    found = []
    for name, p in asked.items():
        loss = row_log_loss(y[known], p[known]).mean()
        lean = p[known, UP] - p[known, DOWN]
        steady = np.ptp(lean) == 0
        found.append(
            {
                "name": name,
                "log_loss": float(loss),
                "skill": float(1 - loss / base),
                "ic": None if steady else float(np.corrcoef(lean, future[known])[0, 1]),
            }
        )
    return found


def _reliability(happened: NDArray[np.bool_], given: NDArray[np.float64]) -> list[list[float]]:
    """Return mean probability given, share that happened and rows, of bins of equal mass."""
    order = np.argsort(given, kind="stable")
    return [
        [float(given[part].mean()), float(happened[part].mean()), len(part)]
        for part in np.array_split(order, min(_BINS, len(order)))
    ]


def _equity(
    rows: Rows, close_ms: NDArray[np.int64], decided: NDArray[np.int8], fee_bps: float
) -> dict[str, Any]:
    """Return the equity if each signal stakes 1/H of the capital for its H bars.

    Up to H positions are open at a time, so that overlapping signals are not counted as if
    each had the whole capital.
    """
    side = decided.astype(float) - NEUTRAL
    gained = side * rows.future_return[rows.test] / rows.horizon_bars
    fee = np.abs(side) * fee_bps / 1e4 / rows.horizon_bars
    before, after = np.cumsum(gained), np.cumsum(gained - fee)
    peak = np.maximum.accumulate(np.maximum(after, 0.0))
    picked = np.unique(np.linspace(0, len(side) - 1, _POINTS).astype(int))
    return {
        "t": close_ms[rows.bars[rows.test] + rows.horizon_bars][picked].tolist(),
        "before_fees": before[picked].round(6).tolist(),
        "after_fees": after[picked].round(6).tolist(),
        "signals": int(np.count_nonzero(side)),
        "worst_fall": float((peak - after).max()),
    }


def _importance(twin: Model, x: NDArray[np.float64], y: NDArray[np.int8]) -> dict[str, float]:
    """Return how much the log loss rises when one feature's values are shuffled (Breiman 2001)."""
    picked = np.unique(np.linspace(0, len(y) - 1, _IMPORTANCE_ROWS).astype(int))
    x, y = x[picked], y[picked]
    mixed = np.random.default_rng(0).permutation(len(y))
    asked = np.repeat(x[np.newaxis], len(features.NAMES) + 1, axis=0)  # the last one as it is
    for i in range(len(features.NAMES)):
        asked[i, :, i] = x[mixed, i]
    answers = twin.stack.predict(
        asked.reshape(-1, x.shape[1])
    )  # one call for all: each call is expensive
    losses = row_log_loss(np.tile(y, len(asked)), answers).reshape(len(asked), -1).mean(axis=1)
    return {name: float(losses[i] - losses[-1]) for i, name in enumerate(features.NAMES)}


def _drift(
    rows: Rows, close_ms: NDArray[np.int64], champion: ChampionModel | None
) -> dict[str, Any]:
    """Compare each feature since the champion's training with before; else test with training."""
    cut, since = rows.test.start, "the training block"
    if champion is not None:
        newer = int(np.searchsorted(close_ms[rows.bars], champion.trained_to_ms, "right"))
        if _LEAST_NEW <= newer <= len(rows.labels) - _LEAST_NEW:
            cut, since = newer, f"the training of {champion.model_id}"
    before, after = rows.features[:cut], rows.features[cut:]
    spread = np.where(before.std(axis=0) > 0, before.std(axis=0), 1.0)
    shift = (after.mean(axis=0) - before.mean(axis=0)) / spread
    return {
        "since": since,
        "rows_before": len(before),
        "rows_after": len(after),
        "features": {
            name: {"shift_sd": float(shift[i]), "distance": _distance(before[:, i], after[:, i])}
            for i, name in enumerate(features.NAMES)
        },
    }


def _distance(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return the largest gap between two distribution functions (Kolmogorov and Smirnov)."""
    values = np.concatenate((before, after))
    below = [
        np.searchsorted(np.sort(side), values, "right") / len(side) for side in (before, after)
    ]
    return float(np.abs(below[0] - below[1]).max())
