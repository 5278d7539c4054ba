"""Compare a quick challenger with the champion, to see whether a retrain would help.

A whole retrain takes every core for half a minute, and the swap after it may do harm. One small
model, fitted twice on the bars before the judged ones, shows whether the bars since the
champion's training are worth learning from. That is not asked where the gates would refuse.

A small model may lose to the champion only because it is small. So it is also compared with a
stale twin of its own, fitted only on bars that the champion has seen. The difference of the two
is what the newer bars are worth.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

from retrain import dataset, folds
from retrain.champion import ChampionModel
from retrain.dataset import LEAST_ROWS, Rows
from retrain.job import Job
from retrain.judging.comparison import champion_rows
from retrain.judging.prejudgement import prejudge
from retrain.scores import row_log_loss

# In the first piece the challenger knows no newer bars, and in the last all but the piece's own.
_PIECES: Final = 4
_CLASSES: Final = 3
_LEAST_OF_A_CLASS: Final = 20


@dataclass(frozen=True, slots=True)
class ChallengerAnswer:
    """Whether a retrain would help; `helps` is None if the comparison is not possible.

    Log losses in nats, on `rows` rows that no model was fitted on: `champion` of the live
    model, `fresh` of the challenger, `stale` of its twin without the newer bars.
    `refused_by` names the gates that would refuse a candidate: then `text` says why, and nothing is
    compared.
    """

    helps: bool | None
    text: str
    rows: int = 0
    champion: float | None = None
    fresh: float | None = None
    stale: float | None = None
    refused_by: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def ask(job: Job) -> ChallengerAnswer:
    """Prejudge a candidate; if it may pass, train quick challengers walking forward, and compare.

    The answer is no if its mean log loss beats neither the champion's nor its stale twin's.

    Raises:
        RetrainError: If bars or settings allow no model at all.
    """
    if job.champion is None:
        return ChallengerAnswer(None, "there is no live model to challenge")
    # On a busy machine the threads of one small fit wait for each other longer than they work.
    with threadpool_limits(limits=1):
        rows = dataset.build(
            job.frame,
            job.horizon_bars,
            job.threshold,
            job.previous_threshold,
            lambda _: None,
            computed=job.computed,
        )
        foreseen = prejudge(rows, job)
        if foreseen.refused_by:
            return ChallengerAnswer(None, foreseen.text, refused_by=foreseen.refused_by)
        return _compared(job, job.champion, rows)


def _compared(job: Job, champion: ChampionModel, rows: Rows) -> ChallengerAnswer:
    gap = 2 * rows.horizon_bars
    fresh = champion_rows(champion, rows, job.close_ms, job.schema_hash, LEAST_ROWS + gap)
    if isinstance(fresh, str):
        return ChallengerAnswer(None, fresh.replace("probation decides", "the retrain decides"))
    before = slice(0, fresh.start - gap)
    if not all(_taught(rows, before)):
        return ChallengerAnswer(None, "too few bars of some class lie before the judged ones")
    judged = slice(fresh.start, fresh.stop)
    truth = rows.labels[judged]
    stale = _fitted(rows, before, job.seed).predict_proba(rows.features[judged])
    losses = (
        float(row_log_loss(truth, given).mean())
        for given in (
            champion.predict(rows.features[judged]),
            _forward(rows, fresh, job),
            stale,
        )
    )
    return _answer(len(fresh), *losses)


def _answer(rows: int, champion: float, fresh: float, stale: float) -> ChallengerAnswer:
    helps = fresh < max(champion, stale)
    text = (
        f"on {rows} bars since its training the live model's log loss is {champion:.4f}, a quick "
        f"challenger's {fresh:.4f} with the newer bars and {stale:.4f} without them"
    )
    return ChallengerAnswer(helps, text, rows, champion, fresh, stale)


def _forward(rows: Rows, fresh: range, job: Job) -> NDArray[np.float64]:
    """Return the challengers' predictions; each is fitted on all rows before its piece."""
    gap = rows.horizon_bars
    pieces = folds.walk_forward(fresh.start, fresh.stop, pieces=_PIECES, purge=gap, embargo=gap)
    said = []
    for piece in pieces:
        model = _fitted(rows, slice(0, piece.train[-1].stop), job.seed)
        said.append(model.predict_proba(rows.features[piece.test.start : piece.test.stop]))
    return np.concatenate(said)


def _taught(rows: Rows, part: slice) -> NDArray[np.bool_]:
    counts = np.bincount(rows.labels[part], minlength=_CLASSES)
    found: NDArray[np.bool_] = counts >= _LEAST_OF_A_CLASS
    return found


def _fitted(rows: Rows, part: slice, seed: int) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=80,
        max_leaf_nodes=15,
        min_samples_leaf=100,
        l2_regularization=1.0,
        random_state=seed,
    )
    return model.fit(rows.features[part], rows.labels[part])
