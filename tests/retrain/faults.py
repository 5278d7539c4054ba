"""Faults that fooled people, each planted into a whole run: bars to judged candidate.

A plant changes one function of the pipeline, as a mistake in it would, and nothing else: the
rows, the scores, the saved file and its self-test are those of a real run.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from retrain import dataset, features, folds, labels, pipeline
from retrain.champion import ChampionModel
from retrain.dataset import Rows
from retrain.folds import Fold
from retrain.job import Job
from retrain.judging import findings
from retrain.pipeline import Candidate
from retrain.stacking import twin
from retrain.stacking.meta import fit_meta
from retrain.stacking.stack import Stack, Trainer
from retrain.stacking.twin import fit_twin
from tests.retrain.market import Frame

Array = NDArray[Any]


@dataclass
class Memory:
    """Fitted base models, kept: most faults fit the same ones."""

    kept: dict[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        return self.kept.get(key)

    def put(self, key: str, model: Any) -> None:
        self.kept[key] = model


@dataclass(frozen=True)
class Market:
    """One market's honest run, and the bars of another market at the same times."""

    job: Job
    other: Frame
    champion: ChampionModel

    @property
    def other_rows(self) -> Rows:
        job = self.job
        return dataset.build(self.other, job.horizon_bars, job.threshold, None, lambda _step: None)


Plant = Callable[[pytest.MonkeyPatch, Market], Job | None]


@dataclass(frozen=True)
class Fault:
    """`named_by` are gates of which one must refuse it; `plant` may return a changed job."""

    name: str
    named_by: tuple[str, ...]
    plant: Plant
    variant: bool = False
    """True if another of the list is the same mistake in another place; left to the benchmark."""


def run(job: Job, folder: Path) -> Candidate:
    return pipeline.run(job, folder, lambda _step, _percent: None, time.perf_counter)


def run_with(fault: Fault, market: Market, *, proved: bool = True) -> Candidate:
    """Run the market's job with one fault in the pipeline; nobody looks at the report.

    Unless it is `proved`, no fresh interpreter loads the files, which takes half of the time.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(findings, "find", lambda *_args, **_kw: {})
        patch.setattr(pipeline, "draw", lambda _found: {})
        patch.setattr(pipeline, "render", lambda *_: "")
        job = fault.plant(patch, market) or market.job
        return run(replace(job, backtest=not proved), Path(folder))


def _swapped(made: Array) -> Array:
    return np.where(made == labels.UNKNOWN, made, 2 - made).astype(made.dtype)


def labels_swapped(patch: pytest.MonkeyPatch, _market: Market) -> None:
    honest = labels.label
    patch.setattr(labels, "label", lambda *args: _swapped(honest(*args)))


def fitted_to(patch: pytest.MonkeyPatch, change: Callable[[Rows], Rows]) -> None:
    patch.setattr(pipeline, "fit_twin", lambda rows, *rest: fit_twin(change(rows), *rest))


def swapped_in_the_fit(patch: pytest.MonkeyPatch, _market: Market) -> None:
    fitted_to(patch, lambda rows: replace(rows, labels=_swapped(rows.labels)))


def in_a_column(patch: pytest.MonkeyPatch, column: int, make: Callable[[Array], Array]) -> None:
    """Put something that is made of closes into one feature, wherever features are computed."""
    honest = features.compute

    def compute(frame: Frame, *args: Any) -> Array:
        computed = honest(frame, *args)
        known = np.isfinite(computed[:, column])
        computed[known, column] = make(np.asarray(frame["close"], dtype=float))[known]
        return computed

    patch.setattr(features, "compute", compute)


def label_in_a_feature(patch: pytest.MonkeyPatch, market: Market) -> None:
    horizon = market.job.horizon_bars

    def label_of_the_bar_before(close: Array) -> Array:
        moved = np.zeros(len(close))
        moved[1 : 1 - horizon] = close[horizon:] / close[:-horizon] - 1
        return np.sign(moved) * (np.abs(moved) > float(market.champion.threshold))

    in_a_column(patch, 7, label_of_the_bar_before)


def feature_from_the_future(patch: pytest.MonkeyPatch, _market: Market) -> None:
    in_a_column(patch, 0, lambda close: np.append(close[1:] / close[:-1] - 1, 0.0))


def _fold_with_all_rows(fold: Fold) -> Fold:
    return Fold((range(fold.test.stop),), fold.test)


def fold_leaks(patch: pytest.MonkeyPatch, _market: Market) -> None:
    honest = folds.split
    patch.setattr(folds, "split", lambda *args, **kw: _fold_with_all_rows(honest(*args, **kw)))


def purge_forgotten(patch: pytest.MonkeyPatch, _market: Market) -> None:
    honest = folds.split
    patch.setattr(folds, "split", lambda n, **kw: honest(n, **kw | {"purge": 0, "embargo": 0}))


def fit_ignores_the_fold(patch: pytest.MonkeyPatch, _market: Market) -> None:
    fitted_to(patch, lambda rows: replace(rows, fold=_fold_with_all_rows(rows.fold)))


def saved_instead(
    patch: pytest.MonkeyPatch, change: Callable[[Trainer, Stack, Array, Array], Any]
) -> None:
    """Save something else than the stack that was judged."""
    honest = Trainer.assemble

    def assemble(self: Trainer, bases: Any, meta: Any, x: Array, y: Array) -> Stack:
        stack = honest(self, bases, meta, x, y)
        with patch.context() as once:
            once.setattr(Trainer, "assemble", honest)
            return replace(stack, model=change(self, stack, x, y))

    patch.setattr(Trainer, "assemble", assemble)


def classes_permuted(patch: pytest.MonkeyPatch, _market: Market) -> None:
    def permuted(trainer: Trainer, stack: Stack, x: Array, y: Array) -> Any:
        given = stack.bases.probabilities(x, trainer.names)
        meta = fit_meta(given, _swapped(y), purge=1)
        return trainer.assemble(stack.bases, meta, x, y).model

    saved_instead(patch, permuted)


def inner_meta_saved(patch: pytest.MonkeyPatch, _market: Market) -> None:
    saved_instead(patch, lambda _trainer, stack, _x, _y: stack.meta)


def passthrough_meta_saved(patch: pytest.MonkeyPatch, _market: Market) -> None:
    def inner(_trainer: Trainer, _stack: Stack, x: Array, y: Array) -> Any:
        return GaussianNB().fit(np.hstack([x, x[:, :1]]), y)

    saved_instead(patch, inner)


def _meta_instead(patch: pytest.MonkeyPatch, make: Callable[[], Any]) -> None:
    def instead(given: Array, made: Array, **_purge: int) -> Any:
        known = np.isfinite(given).all(axis=1)
        return make().fit(given[known], made[known])

    patch.setattr(twin, "fit_meta", instead)


def constant_predictions(patch: pytest.MonkeyPatch, _market: Market) -> None:
    _meta_instead(patch, lambda: DummyClassifier(strategy="prior"))


def calibration_forgotten(patch: pytest.MonkeyPatch, _market: Market) -> None:
    """The regression with its balanced class weights, and nothing that takes them back."""
    _meta_instead(patch, lambda: LogisticRegression(class_weight="balanced", max_iter=1000))


def fitted_to_another_coin(patch: pytest.MonkeyPatch, market: Market) -> None:
    other = market.other_rows
    fitted_to(patch, lambda _rows: other)


def bars_of_another_coin(_patch: pytest.MonkeyPatch, market: Market) -> Job:
    return replace(market.job, frame=market.other, champion=market.champion)


def fitted_to_noise(patch: pytest.MonkeyPatch, market: Market) -> None:
    mixed = np.random.default_rng(market.job.seed).permutation

    def shuffled(rows: Rows) -> Rows:
        # Among the training rows: mixed with those of the test block they would tell its shares.
        made = rows.labels.copy()
        made[rows.train] = mixed(made[rows.train])
        return replace(rows, labels=made)

    fitted_to(patch, shuffled)


FAULTS = (
    Fault("labels swapped", ("direction",), labels_swapped),
    Fault(
        "UP and DOWN swapped in the fit alone",
        ("direction", "beats_prior"),
        swapped_in_the_fit,
        variant=True,
    ),
    Fault("label of the bar before in a feature", ("parity",), label_in_a_feature),
    Fault("a feature from the future", ("parity",), feature_from_the_future),
    Fault("training rows in the test block", ("overfit",), fold_leaks),
    Fault("purge forgotten", ("overfit",), purge_forgotten, variant=True),
    Fault("fit ignores the fold", ("overfit",), fit_ignores_the_fold),
    Fault("class order permuted in the saved object", ("loads",), classes_permuted),
    Fault("constant predictions", ("all_classes", "beats_prior"), constant_predictions),
    Fault("calibration forgotten", ("calibrated",), calibration_forgotten),
    Fault(
        "fitted to another coin",
        ("beats_prior", "calibrated", "direction", "overfit"),
        fitted_to_another_coin,
    ),
    Fault("bars of another coin in the job", ("same_bars",), bars_of_another_coin),
    Fault("fitted to noise", ("beats_prior",), fitted_to_noise),
    Fault("inner meta model saved, 12 inputs", ("loads",), inner_meta_saved),
    Fault("inner meta model saved, 18 inputs", ("loads",), passthrough_meta_saved, variant=True),
)
