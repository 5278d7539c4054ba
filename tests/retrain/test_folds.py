import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrain import folds
from retrain.errors import BadSetting, TooFewBars

sizes = st.integers(0, 400)
gaps = st.integers(0, 30)
counts = st.integers(2, 7)


def leaks(fold: folds.Fold, purge: int, embargo: int) -> list[tuple[int, int]]:
    """Return pairs of a training and a judged row whose label windows come too close."""
    return [
        (i, j)
        for i in fold.train_rows().tolist()
        for j in (fold.test.start, fold.test.stop - 1)
        # Row i knows bars i to i + purge: the windows meet if the rows are that near.
        if abs(i - j) <= purge + embargo
    ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sizes, counts, gaps, gaps)
def test_out_of_fold_judges_every_row_once_and_trains_on_all_that_do_not_leak(
    n: int, count: int, purge: int, embargo: int
) -> None:
    try:
        cut = folds.out_of_fold(n, folds=count, purge=purge, embargo=embargo)
    except TooFewBars:
        return
    assert list(itertools.chain(*(fold.test for fold in cut))) == list(range(n))
    assert max(len(f.test) for f in cut) - min(len(f.test) for f in cut) <= 1
    for fold in cut:
        assert leaks(fold, purge, embargo) == []
        near = range(fold.test.start - purge - embargo, fold.test.stop + purge + embargo)
        assert fold.train_rows().tolist() == [i for i in range(n) if i not in near]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(sizes, gaps, gaps, st.sampled_from([0.05, 0.1, 0.2, 0.3, 0.5, 0.9]))
def test_split_judges_the_newest_rows_and_trains_on_those_before_that_do_not_leak(
    n: int, purge: int, embargo: int, frac: float
) -> None:
    try:
        fold = folds.split(n, purge=purge, embargo=embargo, test_frac=frac)
    except TooFewBars:
        return
    assert fold.test.stop == n
    assert len(fold.test) == pytest.approx(n * frac, abs=1)
    assert leaks(fold, purge, embargo) == []
    assert fold.train == (range(fold.test.start - purge - embargo),)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 200), sizes, st.integers(1, 5), gaps, gaps)
def test_walk_forward_trains_every_piece_on_all_rows_before_it_that_do_not_leak(
    start: int, more: int, pieces: int, purge: int, embargo: int
) -> None:
    try:
        cut = folds.walk_forward(start, start + more, pieces=pieces, purge=purge, embargo=embargo)
    except TooFewBars:
        assert more < pieces or start <= purge + embargo
        return
    assert list(itertools.chain(*(fold.test for fold in cut))) == list(range(start, start + more))
    assert len(cut) == pieces
    for fold in cut:
        assert leaks(fold, purge, embargo) == []
        assert fold.train == (range(fold.test.start - purge - embargo),)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 100), counts, gaps, gaps)
def test_the_number_of_bars_an_error_asks_for_is_the_least_that_will_do(
    n: int, count: int, purge: int, embargo: int
) -> None:
    def oof(rows: int) -> int:
        folds.out_of_fold(rows, folds=count, purge=purge, embargo=embargo)
        return rows

    def split(rows: int) -> int:
        folds.split(rows, purge=purge, embargo=embargo)
        return rows

    def needed(cut: Callable[[int], int]) -> int:
        try:
            return cut(n)
        except TooFewBars as e:
            return e.need

    for cut in (oof, split):
        need = needed(cut)
        assert cut(need) == need
        if need > n:
            with pytest.raises(TooFewBars):
                cut(need - 1)


def test_the_label_of_the_last_training_row_ends_one_bar_before_the_first_judged_row() -> None:
    fold = folds.split(100, purge=12)
    assert fold.test == range(80, 100)
    assert fold.train[-1][-1] + 12 == 79


def test_a_table_that_is_too_short_is_refused_with_the_number_needed() -> None:
    with pytest.raises(TooFewBars, match="have 10 bars, need 16"):
        folds.out_of_fold(10, folds=3, purge=5)
    with pytest.raises(TooFewBars, match="have 20 bars, need 23"):
        folds.walk_forward(10, 20, pieces=2, purge=20)


@pytest.mark.parametrize(
    "call",
    [
        lambda: folds.split(100, purge=-1),
        lambda: folds.split(100, purge=1, test_frac=1.0),
        lambda: folds.out_of_fold(100, folds=1, purge=1),
        lambda: folds.out_of_fold(100, folds=2, purge=1, embargo=-1),
        lambda: folds.walk_forward(50, 100, pieces=0, purge=1),
    ],
)
def test_an_impossible_geometry_is_refused_by_name(call) -> None:
    with pytest.raises(BadSetting, match="must be"):
        call()
