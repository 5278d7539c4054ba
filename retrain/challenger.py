"""Ask before a retrain whether one would help: a quick challenger against the champion.

A whole retrain takes every core for half a minute and ends in a swap that may be for the
worse. One cheap model, fitted twice on the bars before the judged ones, already shows whether
what came since the champion's training is worth learning from.

A cheap model may lose to the champion only because it is cheap. So its own stale twin stands
beside it, fitted on nothing that the champion could not have seen: what the newer bars are
worth is the difference between the two.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships none

from retrain import dataset, folds
from retrain.champion import ChampionModel
from retrain.comparison import champion_rows
from retrain.dataset import LEAST_ROWS, Rows
from retrain.pipeline import Job, close_ms
from retrain.scores import row_log_loss

_PIECES: Final = 2
_CLASSES: Final = 3
_LEAST_OF_A_CLASS: Final = 20


@dataclass(frozen=True, slots=True)
class ChallengerAnswer:
    """Whether a retrain would help; `helps` is None where it could not be told.

    Log losses in nats, on `rows` rows that no model was fitted on: `champion` of the live
    model, `fresh` of the challenger, `stale` of its twin that knows no newer bars.
    """

    helps: bool | None
    text: str
    rows: int = 0
    champion: float | None = None
    fresh: float | None = None
    stale: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)


def ask(job: Job) -> ChallengerAnswer:
    """Train the quick challenger walking forward, and compare.

    The answer is no if, at the best estimate, it beats neither the champion nor its stale twin.

    Raises:
        RetrainError: If bars or settings allow no model at all.
    """
    if job.champion is None:
        return ChallengerAnswer(None, "there is no live model to challenge")
    # On a busy machine the threads of one small fit wait for each other far longer than they work.
    with threadpool_limits(limits=1):
        return _ask(job, job.champion)


def _ask(job: Job, champion: ChampionModel) -> ChallengerAnswer:
    rows = dataset.build(
        job.frame,
        job.horizon_bars,
        job.threshold,
        job.previous_threshold,
        lambda _: None,
        computed=job.computed,
    )
    gap = 2 * rows.horizon_bars
    fresh = champion_rows(champion, rows, close_ms(job), job.schema_hash, LEAST_ROWS + gap)
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
    """Return what challengers say of the judged rows, each fitted on all rows before its piece."""
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
