"""Fit the recipe to the number of rows: smaller where they are few.

A recipe for 30,000 rows of 5m bars overfits the 600 rows of daily bars, or cannot split them at
all. The figures were chosen on training blocks of BTC (docs/measurements/stack.md).
"""

from dataclasses import fields, replace
from typing import Final

from retrain import features
from retrain.dataset import Rows
from retrain.deciding.block_bootstrap import block_length
from retrain.job import Job
from retrain.scores import CALIBRATION_BINS, calibration_bins
from retrain.stacking.stack import Recipe, Trainer

_NAMES: Final = {
    "gb_trees": "steps of gradient boosting",
    "gb_rate": "as their rate",
    "gb_rows": "of the rows in each",
    "rf_trees": "trees of the random forest",
    "et_trees": "of the extra trees",
    "hgb_trees": "steps of histogram boosting",
    "hgb_rate": "as their rate",
    "hgb_columns": "of the columns in each",
    "leaf": "rows in a leaf at least",
    "hgb_leaf": "rows in a leaf of histogram boosting at least",
    "bins": "bins of a feature",
}
_FEW_ROWS: Final = 1_500
"""Below this, base models vary by chance: smaller steps and more trees reduce that."""


def scaled_trainer(job: Job, rows: Rows) -> Trainer:
    """Return what fits the job's recipe, with sizes for its training block."""
    recipe = replace(job.recipe, seed=job.seed)
    recipe = scaled(recipe, len(rows.labels[rows.train]))
    return Trainer(recipe, features.NAMES, job.jobs, job.fits)


def scaled(recipe: Recipe, n_rows: int) -> Recipe:
    """Return the recipe for a training block of `n_rows` rows."""
    fitting = replace(
        recipe,
        gb_trees=_between(n_rows // 60, 20, recipe.gb_trees),
        hgb_trees=_between(n_rows // 60, 20, recipe.hgb_trees),
        leaf=_between(n_rows // 20, 20, recipe.leaf),
        hgb_leaf=_between(n_rows // 10, 20, recipe.hgb_leaf),
        bins=_between(n_rows // 256, 16, recipe.bins),
    )
    if n_rows >= _FEW_ROWS:
        return fitting
    # A quarter of the rate in four times as many steps, 1.4 times as far for gradient boosting.
    return replace(
        fitting,
        gb_trees=fitting.gb_trees * 28 // 5,
        gb_rate=fitting.gb_rate / 4,
        gb_rows=0.5,
        rf_trees=fitting.rf_trees * 2,
        et_trees=fitting.et_trees * 2,
        hgb_trees=fitting.hgb_trees * 4,
        hgb_rate=fitting.hgb_rate / 4,
        hgb_columns=0.2,
    )


def notes(whole: Recipe, used: Recipe, rows: Rows, n_bars: int) -> tuple[str, ...]:
    """Return a sentence for everything that is smaller or less certain than with many bars.

    Args:
        whole: The recipe for many rows.
        used: What `scaled` returned.
        rows: All rows.
        n_bars: Number of bars in the frame.
    """
    train, test = len(rows.labels[rows.train]), len(rows.labels[rows.test])
    changed = [
        f"{getattr(used, one.name):g} {_NAMES[one.name]} instead of {getattr(whole, one.name):g}"
        for one in fields(Recipe)
        if getattr(used, one.name) != getattr(whole, one.name) and one.name in _NAMES
    ]
    if not changed:
        return ()
    block, independent = block_length(test, rows.horizon_bars), test // rows.horizon_bars
    bars = (
        f"few bars: of {n_bars:,}, {len(rows.labels):,} have every feature and a label; {train:,} "
        f"train, in {used.folds} folds of {train // used.folds:,}, and {test:,} judge"
    )
    gates = (
        f"the gates see less: {independent:,} judged labels that do not overlap, resampled in "
        f"blocks of {block} bars; bins of probability to measure calibration in: "
        f"{calibration_bins(test)} instead of {CALIBRATION_BINS}"
    )
    return bars, f"the model is made for few rows: {', '.join(changed)}", gates


def _between(value: int, least: int, most: int) -> int:
    return min(most, max(least, value))
