import io

import joblib
import numpy as np
import pandas as pd
import pytest

from retrain import features, folds
from retrain.errors import TooFewBars
from retrain.scores import calibration_error, row_log_loss
from retrain.stacking.meta import fit_meta
from retrain.stacking.stack import META_COLUMNS, Stack, Trainer
from tests.retrain.planted import SMALL, rows


def fit(x: np.ndarray, y: np.ndarray, jobs: int = 1) -> Stack:
    trainer = Trainer(SMALL, features.NAMES, jobs)
    cuts = folds.out_of_fold(len(y), folds=3, purge=6, embargo=6)
    given, fitting = trainer.out_of_fold(x, y, cuts)
    return trainer.assemble(next(fitting), fit_meta(given, y, purge=6), x, y)


def market(level: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make independent rows whose volatility, at a level in log units, decides the class shares."""
    rng = np.random.default_rng(seed)
    volatility = np.exp(level + rng.normal(0, 0.5, 2_500))
    x = rng.normal(size=(len(volatility), 17))
    for name in ("rv_1h", "gk_volatility", "jump_magnitude"):
        seen = volatility * np.exp(rng.normal(0, 0.3, len(volatility)))
        x[:, features.NAMES.index(name)] = seen
    moved = volatility * rng.normal(size=len(volatility))
    return x, np.where(moved > 1.2, 2, np.where(moved < -1.2, 0, 1)).astype(np.int8)


def worst(y: np.ndarray, p: np.ndarray) -> float:
    return max(calibration_error((y == c) * 1.0, p[:, c], 1) for c in range(3))


def dumped(stack: Stack) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(stack.model, buffer, compress=3)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def stack() -> Stack:
    return fit(*rows(3_000))


def test_17_raw_features_go_in_and_three_probabilities_come_out(stack: Stack) -> None:
    x, y = rows(500, seed=1)
    p = stack.model.predict_proba(pd.DataFrame(x, columns=features.NAMES))
    assert p.shape == (500, 3)
    assert p.sum(axis=1) == pytest.approx(1)
    assert stack.model.classes_.tolist() == [0, 1, 2]
    assert stack.model.n_features_in_ == 17
    assert [p[y == c, c].mean() > p[y != c, c].mean() for c in range(3)] == [True] * 3


def test_the_saved_object_is_the_meta_model_on_the_base_models_to_the_bit(stack: Stack) -> None:
    x, _ = rows(200, seed=2)
    frame = pd.DataFrame(x, columns=features.NAMES)
    binned = stack.model[0].transform(frame)
    inner = stack.model[-1]
    twelve = np.hstack([base.predict_proba(binned) for base in inner.estimators_])
    assert twelve.shape == (200, META_COLUMNS)
    by_hand = stack.meta.predict_proba(twelve)
    assert np.array_equal(stack.model.predict_proba(frame), by_hand)
    assert np.array_equal(stack.predict(x), by_hand)


def test_a_list_of_lists_is_answered_too(stack: Stack) -> None:
    x, _ = rows(3, seed=3)
    with pytest.warns(UserWarning, match="valid feature names"):
        p = stack.model.predict_proba(x.tolist())
    assert np.array_equal(p, stack.predict(x))


def test_the_same_rows_give_the_same_bytes_however_many_threads_fit() -> None:
    x, y = rows(1_500)
    one, two = dumped(fit(x, y, jobs=1)), dumped(fit(x, y, jobs=2))
    assert one == two


def test_the_stack_is_no_worse_than_its_best_part_and_their_average(stack: Stack) -> None:
    x, y = rows(3_000, seed=4)
    twelve = stack.bases.probabilities(x, features.NAMES).reshape(len(y), 4, 3)
    ours = row_log_loss(y, stack.predict(x)).mean()
    singles = [row_log_loss(y, twelve[:, i]).mean() for i in range(4)]
    assert ours <= 1.005 * min(*singles, row_log_loss(y, twelve.mean(axis=1)).mean())


def test_probabilities_have_the_natural_class_shares() -> None:
    x, y = rows(8_000)
    keep = (y == 1) | (np.random.default_rng(0).random(len(y)) < 0.4)
    (x, asked), (y, happened) = np.array_split(x[keep], 2), np.array_split(y[keep], 2)
    shares = np.bincount(happened) / len(happened)
    assert shares.min() < 0.12
    assert fit(x, y).predict(asked).mean(axis=0) == pytest.approx(shares, abs=0.02)


def test_a_calmer_market_is_expected_to_be_calmer() -> None:
    taught = fit(*market(0.0, seed=1))
    x, y = market(-0.8, seed=101)
    assert np.mean(y == 1) > 0.95  # after 0.74 in training
    by_model = taught.bases.probabilities(x, features.NAMES).reshape(len(y), 4, 3)
    assert worst(y, by_model[:, 1:].mean(axis=1)) > 0.06  # what trees alone expect
    assert worst(y, by_model[:, 0]) < 0.04
    assert worst(y, taught.predict(x)) <= 0.05
    x, y = market(0.0, seed=102)
    assert worst(y, taught.predict(x)) <= 0.03


def test_shuffled_labels_teach_nothing() -> None:
    x, y = rows(3_000)
    taught = np.random.default_rng(1).permutation(y)
    fresh_x, fresh_y = rows(3_000, seed=5)
    prior = np.tile(np.bincount(y) / len(y), (len(fresh_y), 1))
    ours = row_log_loss(fresh_y, fit(x, taught).predict(fresh_x)).mean()
    assert ours > row_log_loss(fresh_y, prior).mean() - 0.005


def test_a_column_without_movement_is_no_obstacle() -> None:
    x, y = rows(1_500)
    x[:, 14:] = 0.0
    assert np.isfinite(fit(x, y).predict(x)).all()


def test_a_training_set_without_one_class_is_refused() -> None:
    x, y = rows(300)
    with pytest.raises(TooFewBars):
        Trainer(SMALL, features.NAMES).fit_bases([(x[y != 2], y[y != 2])])


def test_every_part_that_is_served_uses_one_thread(stack: Stack) -> None:
    forests = [base for base in stack.bases.models if hasattr(base, "n_jobs")]
    assert [forest.n_jobs for forest in forests] == [1, 1]


class Kept:
    """Fits in memory, with a count of what was asked for and missing."""

    def __init__(self) -> None:
        self.models: dict[str, object] = {}

    def get(self, key: str) -> object:
        return self.models.get(key)

    def put(self, key: str, model: object) -> None:
        assert key not in self.models, "fitted twice"
        self.models[key] = model


def test_what_was_fitted_to_the_same_rows_before_is_not_fitted_again() -> None:
    kept, part = Kept(), rows(600)
    (first,) = Trainer(SMALL, features.NAMES, 2, kept).fit_bases([part])
    (again,) = Trainer(SMALL, features.NAMES, 1, kept).fit_bases([part])
    assert [a is b for a, b in zip(first.models, again.models, strict=True)] == [True] * 4
    (_,) = Trainer(SMALL, features.NAMES, 1, kept).fit_bases([rows(600, seed=1)])
    assert len(kept.models) == 8, "other rows, other models"
