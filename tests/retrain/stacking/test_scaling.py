import pytest

from retrain import dataset
from retrain.stacking.scaling import notes, scaled
from retrain.stacking.stack import Recipe
from tests.retrain.planted import HORIZON, SMALL, THRESHOLD, planted


def test_many_rows_get_the_whole_recipe_and_few_a_smaller_one() -> None:
    assert scaled(Recipe(), 20_000) == Recipe()
    some = scaled(Recipe(), 1_600)
    assert (some.gb_trees, some.hgb_trees, some.leaf, some.hgb_leaf) == (25, 26, 50, 160)
    assert (some.gb_rate, some.rf_trees) == (Recipe().gb_rate, Recipe().rf_trees)
    few = scaled(Recipe(), 700)
    assert (few.leaf, few.hgb_leaf, few.bins, few.folds) == (35, 70, 16, Recipe().folds)


def test_with_few_rows_boosting_goes_as_far_in_smaller_steps() -> None:
    few = scaled(Recipe(), 700)
    assert few.hgb_trees * few.hgb_rate == pytest.approx(20 * Recipe().hgb_rate)
    assert few.gb_trees * few.gb_rate == pytest.approx(1.4 * 20 * Recipe().gb_rate)
    assert few.rf_trees == 2 * Recipe().rf_trees


def test_a_recipe_that_is_smaller_already_stays_so() -> None:
    assert scaled(SMALL, 10**6) == SMALL
    assert scaled(SMALL, 2_000).gb_trees == SMALL.gb_trees


def test_what_is_smaller_is_said_in_words_and_nothing_where_nothing_is() -> None:
    frame = planted(1_100, seed=1)
    rows = dataset.build(frame, HORIZON, THRESHOLD, None, lambda _step: None)
    used = scaled(Recipe(), len(rows.labels[rows.train]))
    bars, smaller, gates = notes(Recipe(), used, rows, len(frame["t"]))
    assert "of 1,100, 795 have every feature and a label" in bars
    assert "112 steps of gradient boosting instead of 25, 0.0125 as their rate" in smaller
    assert "26 judged labels that do not overlap" in gates
    assert "1 instead of 10" in gates
    assert notes(Recipe(), Recipe(), rows, len(frame["t"])) == ()
