"""The model: four tree ensembles, a logistic regression on their probabilities, calibration.

scikit-learn's own StackingClassifier cannot be trained in time order: its cross-validation takes
partitions only, and shuffled ones let every row see its neighbours' labels. So the out-of-fold
rows are made here, from purged folds. The fitted parts are then assembled into a plain
scikit-learn object, quantile bins and a StackingClassifier over fitted models, which a bot loads
without our packages.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

from retrain.errors import TooFewBars
from retrain.folds import Fold
from retrain.stacking.meta import CLASSES

Features = NDArray[np.float64]
Labels = NDArray[np.int8]
Probabilities = NDArray[np.float64]

BASE_NAMES: Final = ("gb", "rf", "et", "hgb")
"""The base models, slowest to fit first, so that no thread ends with a long one; the first one
counts as much as the others together."""
META_COLUMNS: Final = CLASSES * len(BASE_NAMES)
_VOLATILITY: Final = ("rv_1h", "gk_volatility", "jump_magnitude")
"""Columns of the regression that gradient boosting starts from."""
_NARROWEST: Final = 1e-8
"""Width of the narrowest bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The sizes of the parts.

    There are few trees: the stack averages them anyway, and every tree of a forest costs time on
    every bar. Trees are shallow, with small steps and large leaves, each on a part of the rows:
    labels of neighbouring bars overlap, so one more row adds little, and deep trees overfit. The
    comparisons are in docs/measurements/stack.md.
    """

    gb_trees: int = 25
    gb_rate: float = 0.05
    gb_rows: float = 0.3
    rf_trees: int = 32
    et_trees: int = 32
    hgb_trees: int = 50
    hgb_rate: float = 0.04
    hgb_columns: float = 0.5
    leaf: int = 50
    hgb_leaf: int = 200
    bins: int = 64
    folds: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Bases:
    """Fitted base models, in the order of `BASE_NAMES`, and the bins they see."""

    binner: KBinsDiscretizer
    models: tuple[Any, ...]

    def probabilities(self, features: Features, names: Sequence[str]) -> Probabilities:
        """Return the inputs of the meta model, shape (n, 12), of all four models."""
        binned = self.binner.transform(_named(features, names))
        return np.hstack([model.predict_proba(binned) for model in self.models])


@dataclass(frozen=True, slots=True)
class Stack:
    """A whole fitted model; `model` is deployed, and the parts are kept to check it."""

    model: Pipeline
    bases: Bases
    meta: Pipeline
    names: tuple[str, ...]

    def predict(self, features: Features) -> Probabilities:
        """Return DOWN, NEUTRAL, UP, shape (n, 3), computed from the parts."""
        meta_rows = self.bases.probabilities(features, self.names)
        return np.asarray(self.meta.predict_proba(meta_rows), dtype=np.float64)


class Fits(Protocol):
    """A cache of fitted base models by their input, so that nothing is fitted twice."""

    def get(self, key: str) -> Any:
        """Return the model kept under a key, None if there is none."""
        ...

    def put(self, key: str, model: Any) -> None:
        """Keep a model."""
        ...


class Trainer:
    """Fits the recipe's parts on given rows, on a fixed number of threads.

    Threads, not processes: tree building releases the interpreter's lock, and nothing has to
    be copied. Every fit has its own seed and one core, so the result does not depend on how
    many run at a time.
    """

    def __init__(
        self, recipe: Recipe, names: Sequence[str], jobs: int = 2, fits: Fits | None = None
    ) -> None:
        self.recipe, self.names, self._jobs, self._fits = recipe, tuple(names), jobs, fits

    def fit_bases(self, parts: Sequence[tuple[Features, Labels]]) -> Iterator[Bases]:
        """Fit the four base models on each of several training sets, (n, 17) and (n,).

        Returns:
            The base models of each set in turn. All fits have begun, so a caller can do other
            work before it takes the first, and between two.

        Raises:
            TooFewBars: If a training set lacks a class.
        """
        binners = [self._fit_binner(*part) for part in parts]
        # OpenMP's threads are set per calling thread: HistGradientBoosting must not take all.
        pool = ThreadPoolExecutor(self._jobs, initializer=threadpool_limits, initargs=(1,))
        running = []
        for binner, (features, labels) in zip(binners, parts, strict=True):
            binned = binner.transform(_named(features, self.names)).astype(np.float32)
            running.append([pool.submit(self._fit, name, binned, labels) for name in BASE_NAMES])
        pool.shutdown(wait=False)
        return (
            Bases(binner, tuple(one.result() for one in fits))
            for binner, fits in zip(binners, running, strict=True)
        )

    def out_of_fold(
        self, features: Features, labels: Labels, folds: Sequence[Fold]
    ) -> tuple[Probabilities, Iterator[Bases]]:
        """Fit on every fold and, last, on all rows.

        Args:
            features: Shape (n, 17), oldest row first.
            labels: Shape (n,), 0, 1 or 2.
            folds: Their test rows cover all rows once.

        Returns:
            The predictions of models that were trained without the row and its neighbours,
            shape (n, 12), and the base models of all rows alone, which may still be in work.
        """
        rows = [fold.train_rows() for fold in folds]
        parts = [(features[train], labels[train]) for train in rows]
        fitted = self.fit_bases([*parts, (features, labels)])
        given = np.full((len(labels), META_COLUMNS), np.nan)
        for fold in folds:
            test = slice(fold.test.start, fold.test.stop)
            given[test] = next(fitted).probabilities(features[test], self.names)
        return given, fitted

    def fit_first(self, features: Features, labels: Labels) -> Bases:
        """Fit the first base model alone, on features of shape (n, 17) and labels of shape (n,).

        Raises:
            TooFewBars: If a class is missing.
        """
        binner = self._fit_binner(features, labels)
        binned = binner.transform(_named(features, self.names)).astype(np.float32)
        return Bases(binner, (self._fit(BASE_NAMES[0], binned, labels),))

    def assemble(self, bases: Bases, meta: Pipeline, features: Features, labels: Labels) -> Stack:
        """Put fitted parts together into one scikit-learn object.

        Args:
            bases: The fitted base models.
            meta: What `fit_meta` returned.
            features: Some rows, shape (n, 17); nothing is learnt from them.
            labels: Their labels; every class must occur.
        """
        first = np.sort(np.unique(labels, return_index=True)[1])
        stack = StackingClassifier(
            estimators=list(zip(BASE_NAMES, bases.models, strict=True)),
            final_estimator=DummyClassifier(),
            cv="prefit",
            stack_method="predict_proba",
        ).fit(bases.binner.transform(_named(features[first], self.names)), labels[first])
        # `fit` would fit the meta model again; scikit-learn 1.6 and newer could freeze it.
        stack.final_estimator = stack.final_estimator_ = meta
        model = Pipeline([("bins", bases.binner), ("stack", stack)])
        return Stack(model, bases, meta, self.names)

    def _fit_binner(self, features: Features, labels: Labels) -> KBinsDiscretizer:
        """Learn the quantiles of a training set: 64 bins are enough for trees, and faster.

        The quantiles are computed here, because each scikit-learn computes them in another way.
        """
        if len(np.unique(labels)) < CLASSES:
            raise TooFewBars(len(labels), 2 * len(labels))
        edges = [_quantiles(column, self.recipe.bins) for column in features.T]
        # What is fitted to two rows is replaced, all but the names of the columns.
        ends = _named(np.stack([np.zeros(len(edges)), np.ones(len(edges))]), self.names)
        binner = KBinsDiscretizer(
            self.recipe.bins, encode="ordinal", strategy="uniform", subsample=None
        )
        binner.fit(ends)
        binner.n_bins_ = np.array([len(one) - 1 for one in edges])
        binner.bin_edges_ = np.empty(len(edges), dtype=object)
        binner.bin_edges_[:] = edges
        return binner

    def _fit(self, name: str, binned: NDArray[np.float32], labels: Labels) -> Any:
        key = ""
        if self._fits is not None:
            key = str(joblib.hash((name, self.recipe, binned, labels)))
            if (known := self._fits.get(key)) is not None:
                return known
        model = _base(name, self.recipe, self.names).fit(binned, labels)
        if self._fits is not None:
            self._fits.put(key, model)
        return model


def _base(name: str, recipe: Recipe, names: Sequence[str]) -> Any:
    """Return one unfitted base model."""
    seed = recipe.seed + BASE_NAMES.index(name)
    if name == "gb":
        return GradientBoostingClassifier(
            init=_of_volatility(recipe, names),
            n_estimators=recipe.gb_trees,
            learning_rate=recipe.gb_rate,
            max_depth=2,
            min_samples_leaf=recipe.leaf,
            subsample=recipe.gb_rows,
            max_features="sqrt",
            random_state=seed,
        )
    if name == "hgb":
        return HistGradientBoostingClassifier(
            max_iter=recipe.hgb_trees,
            learning_rate=recipe.hgb_rate,
            max_leaf_nodes=4,
            min_samples_leaf=recipe.hgb_leaf,
            l2_regularization=5.0,
            max_features=recipe.hgb_columns,
            max_bins=recipe.bins,
            early_stopping=False,  # it would hold out random rows, which overlap their neighbours
            random_state=seed,
        )
    random_forest = name == "rf"
    forest = RandomForestClassifier if random_forest else ExtraTreesClassifier
    return forest(
        n_estimators=recipe.rf_trees if random_forest else recipe.et_trees,
        max_depth=6 if random_forest else 8,
        max_features=6 if random_forest else 12,
        min_samples_leaf=recipe.leaf,
        bootstrap=True,
        max_samples=0.5,
        n_jobs=1,
        random_state=seed,
    )


def _of_volatility(recipe: Recipe, names: Sequence[str]) -> Pipeline:
    """Return what gradient boosting starts from (Friedman 2001, Greedy function approximation).

    Trees average over the markets that they saw. A regression on the columns of volatility follows
    it further, into a market that is calmer or wilder than most of the training block.
    """
    spread = recipe.bins / np.sqrt(12)  # standard deviation of equally filled bins
    columns = np.array([[name == one for one in _VOLATILITY] for name in names]) / spread
    return Pipeline(
        [
            ("columns", FunctionTransformer(np.dot, kw_args={"b": columns})),
            ("regression", LogisticRegression(max_iter=1000)),
        ]
    )


def _quantiles(column: Features, bins: int) -> Features:
    """Return the edges of bins with equally many values; a value between two is their mean.

    A flag or a constant column has fewer distinct values than bins: it gets fewer bins.
    """
    ordered = np.sort(column)
    if ordered[0] == ordered[-1]:
        return np.array([-np.inf, np.inf])
    at, rest = np.divmod(np.arange(bins + 1) * len(ordered), bins)
    above = ordered[np.minimum(at, len(ordered) - 1)]
    below = ordered[np.maximum(np.where(rest, at, at - 1), 0)]
    edges = (below + above) / 2
    return np.asarray(edges[np.ediff1d(edges, to_begin=np.inf) > _NARROWEST])


def _named(features: Features, names: Sequence[str]) -> pd.DataFrame:
    """Return the rows with their names: a bot's one-row DataFrame then gives no warning."""
    return pd.DataFrame(features, columns=list(names))
