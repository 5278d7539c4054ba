"""The twin and the refit speak where their own answers stand."""

import numpy as np
import pytest

from retrain import dataset, features
from retrain.deciding.expectation import OutOfFold, RuleSettings, choose
from retrain.deciding.own_answers import moved, wildest
from retrain.stacking.stack import Trainer
from retrain.stacking.twin import Model, fit_twin, refit
from tests.retrain.planted import HORIZON, SMALL, THRESHOLD, planted


def test_thresholds_are_those_of_the_folds_moved_to_the_models_own_answers() -> None:
    rows = dataset.build(planted(1_000, seed=3), HORIZON, THRESHOLD, None, lambda _step: None)
    trainer = Trainer(SMALL, features.NAMES, 1)
    given, twin = fit_twin(rows, trainer, RuleSettings())
    refitted = refit(rows, given, trainer, RuleSettings())
    known = np.flatnonzero(~np.isnan(given).any(axis=1))

    def expected(model: Model, which: np.ndarray) -> tuple[float, float]:
        p = model.stack.meta.predict_proba(given[which])
        judged = len(rows.labels[rows.test])
        outcome = rows.labels[which], rows.future_return[which]
        folds = choose(OutOfFold(p, *outcome, HORIZON, judged), RuleSettings()).signal
        wild = wildest(p)
        own = model.stack.predict(rows.features[which[wild.ravel()]]).reshape(*wild.shape, 3)
        assert folds != model.signal
        return moved(folds, p[wild], own)

    assert twin.signal == pytest.approx(expected(twin, np.arange(rows.train.stop)))
    assert refitted.signal == pytest.approx(expected(refitted, known))
