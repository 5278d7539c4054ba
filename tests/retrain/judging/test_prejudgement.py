"""The gates that a changed market makes fail are known before anything is trained."""

from pathlib import Path

import numpy as np
import pytest

from retrain import dataset, pipeline
from retrain.errors import TooFewBars
from retrain.judging.gate_limits import GateLimits
from retrain.judging.prejudgement import prejudge
from tests.retrain.market import Frame
from tests.retrain.planted import HORIZON, THRESHOLD, job, planted

BARS = 4_000


def turned(times: float) -> Frame:
    """A market whose newest fifth moves so many times as much as before."""
    frame = planted(BARS, seed=7)
    cut = int(BARS * (1 - dataset.TEST_FRAC))
    moves = np.diff(np.log(frame["close"]), prepend=np.log(frame["close"][0]))
    moves[cut:] *= times
    scale = 100 * np.exp(np.cumsum(moves)) / frame["close"]
    opened = np.concatenate((frame["open"][:1], (frame["close"] * scale)[:-1]))
    close = frame["close"] * scale
    above = np.maximum(opened, close) * (1 + 2e-4)
    below = np.minimum(opened, close) * (1 - 2e-4)
    return {**frame, "open": opened, "high": above, "low": below, "close": close}


def rows_of(frame: Frame) -> dataset.Rows:
    return dataset.build(frame, HORIZON, THRESHOLD, None, lambda _: None)


def test_nothing_is_foreseen_in_a_market_that_stays_as_it_was() -> None:
    foreseen = prejudge(rows_of(turned(1.0)), job(turned(1.0)))
    assert (foreseen.refused_by, foreseen.text) == ((), "")


@pytest.mark.parametrize(("times", "mood"), [(0.4, "calmer"), (2.5, "wilder")])
def test_a_market_that_turned_is_foreseen_as_the_whole_stack_is_refused(
    times: float, mood: str, tmp_path: Path
) -> None:
    frame = turned(times)
    foreseen = prejudge(rows_of(frame), job(frame))
    assert "calibrated" in foreseen.refused_by
    assert f"the market was {mood} than learnt" in foreseen.text
    assert "of the decisions" not in foreseen.text
    made = pipeline.run(job(frame, backtest=True), tmp_path, lambda *_: None, lambda: 0.0)
    assert set(foreseen.refused_by) <= set(made.refused_by)


def test_the_limits_are_those_of_the_slot() -> None:
    frame = turned(0.4)
    wide = GateLimits(calibrated=1.0, overfit=1.0, train_accuracy=0.0, test_accuracy=0.0)
    assert prejudge(rows_of(frame), job(frame, limits=wide)).refused_by == ()


def test_a_training_block_without_a_class_is_an_error() -> None:
    rows = rows_of(planted(BARS, seed=7))
    rows.labels[rows.train] = 1
    with pytest.raises(TooFewBars):
        prejudge(rows, job(planted(BARS, seed=7)))
