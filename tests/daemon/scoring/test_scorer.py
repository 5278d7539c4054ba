"""Where a model is asked: at once if it answers fast, in a thread if it is of the old form."""

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from daemon.scoring.scorer import Scorer
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.slot_name import SlotName

HASH = "0123456789ab"


class Known:
    """Knows the features of every bar."""

    schema_hash = HASH

    async def row(self, t: int) -> np.ndarray:
        return np.full(17, float(t))

    async def close(self) -> None:
        pass


@dataclass
class Model:
    """Notes the threads that ask it."""

    form: str
    manifest: Any = field(
        default_factory=lambda: SimpleNamespace(schema_hash=HASH, trained_to_ms=0)
    )
    threads: list[int] = field(default_factory=list)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        self.threads.append(threading.get_ident())
        return np.array([[0.2, 0.5, rows[0, 0]]])


@pytest.mark.parametrize(
    ("forms", "at_once"),
    [
        (("onnx",), True),
        (("joblib",), False),
        (("onnx", "onnx"), True),
        (("onnx", "joblib"), False),
    ],
)
async def test_only_models_that_answer_fast_are_asked_on_the_thread_of_the_loop(
    forms: tuple[str, ...], at_once: bool
) -> None:
    models = [Model(form) for form in forms]
    champion, shadow = [*cast("list[LoadedModel]", models), None][:2]
    score = await Scorer(SlotName("BTC", "5m"), Known()).score(7, champion, shadow)
    assert score.p == (0.2, 0.5, 7.0)
    assert (score.shadow_p is not None) == (shadow is not None)
    here = {thread == threading.get_ident() for model in models for thread in model.threads}
    assert here == {at_once}


async def test_without_a_model_a_bar_has_its_features_alone() -> None:
    score = await Scorer(SlotName("BTC", "5m"), Known()).score(7, None, None)
    assert (score.row, score.p, score.shadow_p) == ((7.0,) * 17, None, None)


async def test_a_model_scores_no_bar_that_it_learnt_from() -> None:
    slot = SlotName("BTC", "5m")
    new, old = Model("onnx"), Model("onnx")
    new.manifest.trained_to_ms = 2 * slot.interval_ms  # the close of the second bar
    champion, shadow = cast("list[LoadedModel]", [new, old])
    scores = [
        await Scorer(slot, Known()).score(t * slot.interval_ms, champion, shadow) for t in range(3)
    ]
    assert [score.p is not None for score in scores] == [False, False, True]
    assert [score.shadow_p is not None for score in scores] == [True] * 3
