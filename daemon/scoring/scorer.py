"""Score one closed bar: compute the probabilities of the live model.

The previous champion scores beside the live model while it is on probation.
"""

import asyncio
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog
from numpy.typing import NDArray

from daemon.scoring.feature_computers import Computer
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

Probabilities = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """`row` has the 17 features; a probability triple is None where no model could answer."""

    row: tuple[float, ...]
    p: Probabilities | None
    shadow_p: Probabilities | None


class Scorer:
    """Scores the bars of one slot with its models.

    Args:
        slot: Whose bars.
        computer: Computes their features.
    """

    def __init__(self, slot: SlotName, computer: Computer) -> None:
        self._slot, self._computer = slot, computer
        self._not_asked: str | None = None

    async def score(
        self, t: int, champion: LoadedModel | None, shadow: LoadedModel | None
    ) -> Score:
        """Score the stored bar that opened at `t`; a model that learnt from it is not asked."""
        champion, shadow = (self._unlearnt(t, model) for model in (champion, shadow))
        row = await self._computer.row(t)
        ours = self._computer.schema_hash
        work = partial(score, row, champion, shadow, ours)
        is_fast = all(model is None or model.form == "onnx" for model in (champion, shadow))
        # Among hundreds of slots, the turn of a thread takes much longer than a fast answer.
        found = work() if is_fast else await asyncio.to_thread(work)
        if champion is not None and ours is not None and not reads(champion, ours):
            await self._complain(champion, ours)
        return found

    def _unlearnt(self, t: int, model: LoadedModel | None) -> LoadedModel | None:
        """Return the model unless it learnt from a bar: one deployed while the daemon was away."""
        close_ms = t + self._slot.interval_ms
        return None if model is None or close_ms <= model.manifest.trained_to_ms else model

    async def close(self) -> None:
        """Release what the computer holds."""
        await self._computer.close()

    async def _complain(self, champion: LoadedModel, ours: str) -> None:
        """Log once that the live model is not used, and have the bot's class imported again."""
        await self._computer.close()
        if self._not_asked == champion.model_id:
            return
        self._not_asked = champion.model_id
        why = f"it was trained on features {champion.manifest.schema_hash}, computed are {ours}; "
        why += "retrain, or set features.computer as it was"
        log.error("model.not_asked", slot=str(self._slot), model=champion.model_id, why=why)


def score(
    last: NDArray[np.float64],
    champion: LoadedModel | None,
    shadow: LoadedModel | None,
    schema_hash: str | None,
) -> Score:
    """Score a bar by its features, shape (17,), NaN if they are not known.

    A model that was trained on features of another `schema_hash` is not used.
    This takes a tenth of a millisecond for each model, and about ten milliseconds for one from
    before there was a portable form: call it in a thread then.
    """
    row = tuple(map(float, last))
    known = bool(np.isfinite(last).all())
    asked = [
        model if known and model and reads(model, schema_hash) else None
        for model in (champion, shadow)
    ]
    return Score(row, *(_ask(model, last) for model in asked))


def reads(model: LoadedModel, schema_hash: str | None) -> bool:
    """Whether a model was trained on features with this hash."""
    return model.manifest.schema_hash == schema_hash


def _ask(model: LoadedModel | None, row: NDArray[np.float64]) -> Probabilities | None:
    if model is None:
        return None
    down, neutral, up = model.predict(row.reshape(1, -1))[0]
    return float(down), float(neutral), float(up)
