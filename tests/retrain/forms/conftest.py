"""One small stack for all tests of its forms."""

import pytest

from retrain import features, folds
from retrain.forms.description import describe
from retrain.forms.parts import Parts
from retrain.stacking.meta import fit_meta
from retrain.stacking.stack import Stack, Trainer
from tests.retrain.planted import SMALL, rows


@pytest.fixture(scope="package")
def stack() -> Stack:
    x, y = rows(3_000)
    x[:, 2] = 1.0  # a constant column, a flag, and one with many ties
    x[:, 3] = x[:, 3] > 1
    x[:, 4] = x[:, 4].round(1)
    trainer = Trainer(SMALL, features.NAMES, 1)
    cuts = folds.out_of_fold(len(y), folds=3, purge=6, embargo=6)
    given, fitting = trainer.out_of_fold(x, y, cuts)
    return trainer.assemble(next(fitting), fit_meta(given, y, purge=6), x, y)


@pytest.fixture(scope="package")
def parts(stack: Stack) -> Parts:
    return describe(stack)
