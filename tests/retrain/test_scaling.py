from retrain import dataset
from retrain.scaling import notes, scaled
from retrain.stack import Recipe
from tests.retrain.planted import HORIZON, SMALL, THRESHOLD, planted


def test_many_rows_get_the_whole_recipe_and_few_a_smaller_one() -> None:
    assert scaled(Recipe(), 20_000) == Recipe()
    few = scaled(Recipe(), 700)
    assert (few.gb_trees, few.hgb_trees, few.leaf, few.hgb_leaf, few.bins) == (20, 20, 35, 70, 16)
    assert (few.rf_trees, few.folds) == (Recipe().rf_trees, Recipe().folds)


def test_a_recipe_that_is_smaller_already_stays_so() -> None:
    assert scaled(SMALL, 10**6) == SMALL
    assert scaled(SMALL, 500).gb_trees == SMALL.gb_trees


def test_what_is_smaller_is_said_in_words_and_nothing_where_nothing_is() -> None:
    frame = planted(1_100, seed=1)
    rows = dataset.build(frame, HORIZON, THRESHOLD, None, lambda _step: None)
    used = scaled(Recipe(), len(rows.labels[rows.train]))
    bars, smaller, gates = notes(Recipe(), used, rows, len(frame["t"]))
    assert "of 1,100, 795 have every feature and a label" in bars
    assert "20 steps of gradient boosting instead of 50" in smaller
    assert "26 judged labels that do not overlap" in gates
    assert "1 instead of 10" in gates
    assert notes(Recipe(), Recipe(), rows, len(frame["t"])) == ()
