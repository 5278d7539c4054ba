"""Compare champion and challenger on bars that neither was trained on.

A twin trained on the oldest 80 % would have to beat a champion that has seen later bars. So the
rows since the champion's training are cut into pieces. For each piece the challenger trains on all
bars before it, as if it went live that day.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrain import folds
from retrain.champion import ChampionModel
from retrain.dataset import Rows
from retrain.judging.gates import Comparison
from retrain.scores import paired_difference, row_log_loss
from retrain.stacking.meta import fit_meta
from retrain.stacking.stack import Trainer

_PIECES: Final = 2
_LEAST_ROWS: Final = 200


def champion_rows(
    champion: ChampionModel,
    rows: Rows,
    close_ms: NDArray[np.int64],
    schema_hash: str,
    first: int | None = None,
) -> range | str:
    """Return the rows to compare on, or why there are none.

    They close after the champion's newest training bar, so no label of its training reaches
    into them. They lie in the test block, before which the challenger can be trained.

    Args:
        champion: The live model.
        rows: All rows.
        close_ms: When each bar of the frame closed, ms UTC, shape (n_bars,).
        schema_hash: Names the features of the rows.
        first: The first row that may be compared, instead of the first of the test block.
    """
    if champion.schema_hash != schema_hash:
        return "the champion reads other features: probation decides"
    value = rows.threshold.value
    asked = value if rows.threshold.kind == "fixed" else f"vol:{value:g}"
    if (champion.horizon_bars, champion.threshold) != (rows.horizon_bars, asked):
        return "the champion answers another question (horizon or threshold): probation decides"
    newer = int(np.searchsorted(close_ms[rows.bars], champion.trained_to_ms, side="right"))
    fresh = range(max(newer, rows.test.start if first is None else first), rows.test.stop)
    least = 5 * rows.horizon_bars + _LEAST_ROWS
    if len(fresh) < least:
        have = f"only {len(fresh)} judged bars are newer than the champion's training"
        return f"{have}, {least} would be needed: probation decides"
    return fresh


def compare(
    champion: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    rows: Rows,
    fresh: range,
    given: NDArray[np.float64],
    trainer: Trainer,
) -> Comparison:
    """Compare log losses on `fresh`, the challenger walking forward through it.

    Args:
        champion: Returns the live model's probabilities for rows of features.
        rows: All rows.
        fresh: What `champion_rows` returned.
        given: Base models' predictions for rows they were not trained on, shape (n, 12); for
            a test row, from models that saw no later row.
        trainer: Fits the challengers.
    """
    gap = rows.horizon_bars
    pieces = folds.walk_forward(fresh.start, fresh.stop, pieces=_PIECES, purge=gap, embargo=gap)
    cuts = [piece.train[-1].stop for piece in pieces]
    fitted = trainer.fit_bases([(rows.features[:cut], rows.labels[:cut]) for cut in cuts])
    metas = [fit_meta(given[:cut], rows.labels[:cut], purge=gap) for cut in cuts]
    losses = []
    for piece, cut, bases, meta in zip(pieces, cuts, fitted, metas, strict=True):
        stack = trainer.assemble(bases, meta, rows.features[:cut], rows.labels[:cut])
        judged = slice(piece.test.start, piece.test.stop)
        losses.append(row_log_loss(rows.labels[judged], stack.predict(rows.features[judged])))
    judged = slice(fresh.start, fresh.stop)
    theirs = row_log_loss(rows.labels[judged], champion(rows.features[judged]))
    difference, interval = paired_difference(
        np.concatenate(losses), theirs, rows.horizon_bars, trainer.recipe.seed
    )
    scale = float(theirs.mean())
    return Comparison(
        rows=len(fresh),
        difference=difference / scale,
        interval=type(interval)(interval.low / scale, interval.high / scale),
    )
