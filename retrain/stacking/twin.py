"""Fit the twin, which is judged, and the refit, which is deployed.

Both follow one recipe. The twin was not trained on the test block, so its predictions there
serve the refit as out-of-fold rows, and nothing is fitted twice.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrain.dataset import Rows
from retrain.deciding.block_bootstrap import Interval, interval, resampler
from retrain.deciding.decision import SignalThreshold
from retrain.deciding.expectation import DecisionRule, OutOfFold, RuleSettings, choose
from retrain.deciding.own_answers import moved, wildest
from retrain.folds import out_of_fold
from retrain.labels import shares
from retrain.scores import row_log_loss
from retrain.stacking.meta import fit_meta
from retrain.stacking.stack import META_COLUMNS, Stack, Trainer


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted stack with its decision rule; `stop` is the row after the last it trained on.

    `learnt` is the 95 % interval of the twin's skill out of fold, on the labels that it was
    fitted to; None of a refit, which nobody judges.
    """

    stack: Stack
    rule: DecisionRule
    stop: int
    learnt: Interval | None = None

    @property
    def signal(self) -> SignalThreshold:
        """The signal thresholds of the rule."""
        return self.rule.signal


def fit_twin(
    rows: Rows, trainer: Trainer, settings: RuleSettings
) -> tuple[NDArray[np.float64], Model]:
    """Fit the twin on the training block.

    Args:
        rows: All rows.
        trainer: Holds the recipe.
        settings: Of the decision rule.

    Returns:
        The predictions of base models for rows that they were not trained on, shape (n, 12),
        and the twin. The models of the folds predict the training block, those of the twin
        the test block; the purge between has NaN.
    """
    gap = rows.horizon_bars
    x, y = rows.features[rows.train], rows.labels[rows.train]
    folds = out_of_fold(len(y), folds=trainer.recipe.folds, purge=gap, embargo=gap)
    given = np.full((len(rows.labels), META_COLUMNS), np.nan)
    given[rows.train], fitting = trainer.out_of_fold(x, y, folds)
    meta = fit_meta(given[rows.train], y, purge=gap)
    (bases,) = fitting
    # The meta model was fitted to these rows, but a dozen weights cannot overfit thousands.
    said = meta.predict_proba(given[rows.train])
    given[rows.test] = bases.probabilities(rows.features[rows.test], trainer.names)
    stack = trainer.assemble(bases, meta, x, y)
    rule = _rule(rows, np.arange(len(y)), said, stack, settings)
    return given, Model(stack, rule, rows.train.stop, _skill(said, y, gap))


def refit(
    rows: Rows, given: NDArray[np.float64], trainer: Trainer, settings: RuleSettings
) -> Model:
    """Fit the same recipe to all rows.

    Args:
        rows: All rows.
        given: Predictions of the base models as `fit_twin` returned them, shape (n, 12).
        trainer: Holds the recipe.
        settings: Of the decision rule.
    """
    fitting = trainer.fit_bases([(rows.features, rows.labels)])
    meta = fit_meta(given, rows.labels, purge=rows.horizon_bars)
    (bases,) = fitting
    known = np.flatnonzero(~np.isnan(given).any(axis=1))
    stack = trainer.assemble(bases, meta, rows.features, rows.labels)
    rule = _rule(rows, known, meta.predict_proba(given[known]), stack, settings)
    return Model(stack, rule, len(rows.labels))


def _skill(p: NDArray[np.float64], labels: NDArray[np.int8], horizon_bars: int) -> Interval:
    """Return the 95 % interval of the skill over the class shares of the same rows."""
    pick = resampler(len(labels), horizon_bars)
    base = row_log_loss(labels, np.broadcast_to(shares(labels), p.shape))
    return interval(1 - pick(row_log_loss(labels, p)) / pick(base), pick.blocks)


def _rule(
    rows: Rows,
    which: NDArray[np.intp],
    p: NDArray[np.float64],
    stack: Stack,
    settings: RuleSettings,
) -> DecisionRule:
    """Choose the decision rule on some rows, given their out-of-fold probabilities."""
    known = OutOfFold(
        probabilities=p,
        labels=rows.labels[which],
        future_return=rows.future_return[which],
        horizon_bars=rows.horizon_bars,
        judged_rows=len(rows.labels[rows.test]),
    )
    rule, wild = choose(known, settings), wildest(p)
    own = stack.predict(rows.features[which[wild.ravel()]]).reshape(*wild.shape, -1)
    return replace(rule, signal=moved(rule.signal, p[wild], own))
