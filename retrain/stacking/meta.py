"""Fit the meta model, which weights and calibrates the predictions of the four base models.

It is regularised towards the average of the base models, which is hard to beat: a few hundred
rows cannot improve on it, and many thousand rows only a little. The first base model counts as
much as the others together: it alone follows the level of volatility beyond what it has seen.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from retrain.folds import Fold, out_of_fold
from retrain.scores import paired_difference, row_log_loss

Labels = NDArray[np.int8]
Probabilities = NDArray[np.float64]

CLASSES: Final = 3
_FLOOR: Final = 1e-3
_FOLDS: Final = 2
_PRIORS: Final = (10_000, 1_000, 100)
"""Weights of the average to choose from, in independent labels."""
_WORTH: Final = 0.01
"""Fraction of the loss that a smaller weight must save significantly."""
_STRENGTH: Final = 30.0
"""Weight of the average times C of the regression, whose penalty pulls its weights to 0."""
_DEVIATION: Final = 0.1
"""How much more the penalty costs on one base model than on their average."""
_ANCHORS: Final = 2_000
"""Rows that carry the weight of the average; more rows add nothing."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """The out-of-fold rows, the average prediction of the base models, and the splits."""

    given: Probabilities
    labels: Labels
    anchors: NDArray[np.intp]
    folds: tuple[Fold, ...]
    purge: int


def averaged(given: Probabilities) -> Probabilities:
    """Return the average of the base models, shape (n, 3), of what they said, shape (n, 12)."""
    by_model = given.reshape(len(given), -1, CLASSES)
    return np.average(by_model, axis=1, weights=_shares(by_model.shape[1]))


def fit_meta(given: Probabilities, labels: Labels, *, purge: int) -> Pipeline:
    """Fit the meta model and its calibration on out-of-fold rows.

    One logistic regression per class, on log odds: with a weight of one on the mean of a class
    it says what the base models say on average, and the sigmoid of Platt (1999) behind it can
    leave that as it is; a softmax followed by such sigmoids cannot. The average is the prior:
    beside the labels that happened, both see labels as the average of the models has them. These
    count for many, so that few rows leave the average as it is and many move it a little; for
    fewer only where held-out rows show surely that the base models differ that much. The classes
    keep their natural weight; that NEUTRAL is not served alone is the signal thresholds' work.

    Args:
        given: What base models said about rows that they had not seen, shape (n, 12); NaN where
            there is none, and such rows are left out.
        labels: Shape (n,).
        purge: Horizon of the labels in rows, left out between the half of the rows that the
            regression is fitted to and the half that calibrates it, as is an embargo as long.
            Labels that overlap by it count once.
    """
    known = ~np.isnan(given).any(axis=1)
    given, labels = given[known], labels[known]
    cuts = out_of_fold(len(labels), folds=_FOLDS, purge=purge, embargo=purge)
    rows = _Rows(given, labels, _evenly(len(labels), _ANCHORS), cuts, purge)
    meta, lost = _fitted(rows, _PRIORS[0])
    for prior in _PRIORS[1:]:
        other, loses = _fitted(rows, prior)
        if paired_difference(loses, lost, purge)[1].high > -_WORTH * lost.mean():
            break
        meta, lost = other, loses
    return meta


def _fitted(rows: _Rows, prior: int) -> tuple[Pipeline, NDArray[np.float64]]:
    """Fit with the average counting for `prior` labels; return what the held-out rows lost."""
    average = averaged(rows.given[rows.anchors])
    weight = prior * rows.purge / len(rows.anchors) * average.ravel()
    splits = [
        tuple(_with_anchors(part, rows) for part in (cut.train_rows(), _judged(cut)))
        for cut in rows.folds
    ]
    # Only so does OneVsRestClassifier hand the weights on to its regressions.
    with sklearn.config_context(enable_metadata_routing=True):
        regression = LogisticRegression(C=_STRENGTH / prior, max_iter=1000)
        every = OneVsRestClassifier(regression.set_fit_request(sample_weight=True))
        calibrated = CalibratedClassifierCV(every, method="sigmoid", cv=splits)
        calibrated.set_fit_request(sample_weight=True)
        meta = Pipeline([*_log_odds(rows.given.shape[1] // CLASSES), ("calibrated", calibrated)])
        meta.fit(
            np.vstack([rows.given, np.repeat(rows.given[rows.anchors], CLASSES, axis=0)]),
            np.concatenate([rows.labels, np.tile(np.arange(CLASSES), len(rows.anchors))]),
            sample_weight=np.concatenate([np.ones(len(rows.labels)), weight]),
        )
    calibrated.cv = None  # the splits are index arrays of megabytes that nobody needs again
    odds = meta[:-1].transform(rows.given)
    lost = [
        row_log_loss(rows.labels[judged], one.estimator.predict_proba(odds[judged]))
        for one, judged in zip(
            calibrated.calibrated_classifiers_, map(_judged, rows.folds), strict=True
        )
    ]
    return meta, np.concatenate(lost)


def _log_odds(models: int) -> list[tuple[str, FunctionTransformer]]:
    """Return the steps from probabilities to log odds: their means, and who deviates from them."""
    one = np.eye(CLASSES)
    mean = np.kron(_shares(models)[:, None], one)
    deviation = np.eye(CLASSES * models) - mean @ np.tile(one, (1, models))
    pooled = np.hstack([mean, _DEVIATION * deviation])
    return [
        ("floor", FunctionTransformer(np.clip, kw_args={"a_min": _FLOOR, "a_max": 1 - _FLOOR})),
        ("odds", FunctionTransformer(logit)),
        ("pool", FunctionTransformer(np.dot, kw_args={"b": pooled})),
    ]


def _shares(models: int) -> NDArray[np.float64]:
    """Return what each base model counts for in their average: the first one half."""
    rest = np.full(models - 1, 0.5 / (models - 1))
    return np.concatenate([[0.5], rest])


def _evenly(n_rows: int, most: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.intp))


def _judged(fold: Fold) -> NDArray[np.intp]:
    return np.arange(fold.test.start, fold.test.stop)


def _with_anchors(part: NDArray[np.intp], rows: _Rows) -> NDArray[np.intp]:
    """Add, behind all rows, the three that each anchor among `part` has there."""
    at = np.flatnonzero(np.isin(rows.anchors, part))
    behind = len(rows.labels) + CLASSES * at[:, None] + np.arange(CLASSES)
    return np.concatenate([part, behind.ravel()])
