"""Choose which rows train and which rows judge: integers in, ranges out.

The label of row i looks `purge` rows (the horizon) ahead. If the label of a training row reaches
into the judged rows, or the other way round, the answer leaks. The score is then wrong, and
nothing later can detect it. So this module is separate and tested for every size.

Rows count bars. If bars without features were left out between two rows, the rows are further
apart in time, which only widens the purge.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrain.errors import BadSetting, TooFewBars


class Fold(NamedTuple):
    """Rows to train on, as one or two ranges, and rows to judge."""

    train: tuple[range, ...]
    test: range

    def train_rows(self) -> NDArray[np.intp]:
        """Return the training rows as an index array, shape (n_train,)."""
        return np.concatenate([np.arange(r.start, r.stop, dtype=np.intp) for r in self.train])


def split(n_rows: int, *, purge: int, embargo: int = 0, test_frac: float = 0.2) -> Fold:
    """Split the newest rows off for judging.

    Args:
        n_rows: Number of rows, oldest first.
        purge: Horizon of the labels in rows.
        embargo: Rows to leave out beyond the purge.
        test_frac: Share of the rows to judge, between 0 and 1.

    Returns:
        One fold; its test rows are the newest `test_frac` of all, at least one.

    Raises:
        TooFewBars: If no training row is left.
        BadSetting: If an argument is outside its range.
    """
    _at_least("purge", purge, 0)
    _at_least("embargo", embargo, 0)
    if not 0 < test_frac < 1:
        raise BadSetting("test_frac", test_frac, "between 0 and 1")

    def cut(n: int) -> tuple[Fold, ...]:
        test = range(min(int(n * (1 - test_frac)), n - 1), n)
        return (Fold(_around(n, test, purge + embargo, both=False), test),)

    return _possible(cut, n_rows)[0]


def out_of_fold(n_rows: int, *, folds: int, purge: int, embargo: int = 0) -> tuple[Fold, ...]:
    """Cut all rows into blocks in time order, each judged by the rows around it.

    Args:
        n_rows: Number of rows, oldest first.
        folds: Number of blocks, at least 2.
        purge: Horizon of the labels in rows, left out on both sides of a block.
        embargo: Rows to leave out beyond the purge, on both sides.

    Returns:
        `folds` folds; their test ranges follow each other and cover every row once.

    Raises:
        TooFewBars: If a fold has no training row or no test row.
        BadSetting: If an argument is outside its range.
    """
    _at_least("folds", folds, 2)
    _at_least("purge", purge, 0)
    _at_least("embargo", embargo, 0)

    def cut(n: int) -> tuple[Fold, ...]:
        blocks = _blocks(0, n, folds)
        return tuple(Fold(_around(n, test, purge + embargo, both=True), test) for test in blocks)

    return _possible(cut, n_rows)


def walk_forward(
    start: int, stop: int, *, pieces: int, purge: int, embargo: int = 0
) -> tuple[Fold, ...]:
    """Cut the rows from `start` to `stop` into pieces, each judged by all rows before it.

    Args:
        start: First row to judge.
        stop: Row after the last one to judge.
        pieces: Number of pieces, at least 1.
        purge: Horizon of the labels in rows, left out before each piece.
        embargo: Rows to leave out beyond the purge.

    Returns:
        `pieces` folds in time order; their test ranges cover `start` to `stop` once.

    Raises:
        TooFewBars: If a piece has no row, or nothing lies before the first one.
        BadSetting: If an argument is outside its range.
    """
    _at_least("pieces", pieces, 1)
    _at_least("purge", purge, 0)
    _at_least("embargo", embargo, 0)
    gap = purge + embargo
    if stop - start < pieces or start - gap < 1:
        raise TooFewBars(stop, max(start, gap + 1) + pieces)
    blocks = _blocks(start, stop, pieces)
    return tuple(Fold(_around(stop, test, gap, both=False), test) for test in blocks)


def _blocks(start: int, stop: int, count: int) -> list[range]:
    """Cut a range into `count` adjacent ranges that differ in length by one at most."""
    edges = [start + (stop - start) * k // count for k in range(count + 1)]
    return [range(a, b) for a, b in itertools.pairwise(edges)]


def _around(n_rows: int, test: range, gap: int, *, both: bool) -> tuple[range, ...]:
    """Return the rows before `test`, and after it if `both`, more than `gap` rows away.

    The label of row i spans i to i + purge: the last row that may train before row s is
    s - purge - 1, the first after row e is e + purge + 1.
    """
    before = range(test.start - gap)
    after = range(test.stop + gap, n_rows if both else 0)
    return tuple(side for side in (before, after) if side)


def _possible(cut: Callable[[int], tuple[Fold, ...]], n_rows: int) -> tuple[Fold, ...]:
    """Return the folds of `n_rows` rows, or raise `TooFewBars` with the number needed."""
    if _complete(folds := cut(n_rows)):
        return folds
    enough = (n for n in itertools.count(max(n_rows, 0) + 1) if _complete(cut(n)))
    raise TooFewBars(n_rows, next(enough))


def _complete(folds: tuple[Fold, ...]) -> bool:
    return all(fold.train and fold.test for fold in folds)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadSetting(name, value, f"at least {least}")
