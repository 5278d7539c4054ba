import numpy as np
import pytest
from scipy.stats import logistic

from benchmarks.ladder import MOVES, swap
from monitor.questions import Probabilities, carried, middle


def said(centre: float, width: float, threshold: float) -> Probabilities:
    """Return what a model says that knows a logistic return."""
    law = logistic(centre, width)
    down, up = float(law.cdf(-threshold)), float(law.sf(threshold))
    return down, 1 - down - up, up


@pytest.mark.parametrize("times", [0.2, 0.8, 1.0, 1.5, 4.0])
def test_what_is_said_of_one_threshold_tells_what_would_be_said_of_another(times: float) -> None:
    ours, theirs = said(0.001, 0.003, 0.005), said(0.001, 0.003, 0.005 * times)
    assert carried(ours, times) == pytest.approx(theirs, rel=1e-6)


def test_the_same_threshold_changes_nothing_to_the_last_digit() -> None:
    assert carried((0.1, 0.7, 0.2), 1.0) == (0.1, 0.7, 0.2)


@pytest.mark.parametrize("p", [(0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.5, 0.0, 0.5), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("times", [0.01, 100.0])
def test_probabilities_of_0_and_1_stay_probabilities(p: Probabilities, times: float) -> None:
    moved = carried(p, times)
    assert sum(moved) == pytest.approx(1)
    assert all(-1e-12 <= one <= 1 for one in moved)


def test_the_middle_is_as_far_from_the_one_as_from_the_other() -> None:
    assert middle(0.005, 0.02) == pytest.approx(0.01)


def rolled_back(what: str, move: str, swaps: int) -> tuple[int, float]:
    ends = [swap(seed, what, *MOVES[move], told=True)[0] for seed in range(3_000, 3_000 + swaps)]
    return sum(verdict.worse for verdict in ends), float(np.mean([one.excess for one in ends]))


@pytest.mark.parametrize("move", ["a step down", "a step up", "three steps up"])
def test_a_worse_model_is_rolled_back_after_a_move_of_the_ladder_as_without_one(move: str) -> None:
    still, _ = rolled_back("bad class order", "same threshold", 25)
    moved, _ = rolled_back("bad class order", move, 25)
    assert still >= 18
    assert moved >= still - 6


@pytest.mark.parametrize("move", MOVES)
def test_an_equal_model_is_neither_favoured_nor_rolled_back_by_a_move(move: str) -> None:
    lost, excess = rolled_back("equal", move, 40)
    assert lost <= 2
    assert abs(excess) < 0.02


def test_judged_by_its_own_threshold_the_new_model_would_be_favoured() -> None:
    ends = [swap(seed, "equal", *MOVES["a step down"], told=False)[0] for seed in range(40)]
    assert np.mean([one.excess for one in ends]) < -0.03
