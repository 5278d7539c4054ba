import numpy as np
import pytest

from retrain.judging import provenance
from tests.retrain.market import cut, made_up

FRAME = made_up(2_000, seed=1)
KEPT = provenance.anchors(cut(FRAME, 0, 1_500))


def test_a_version_keeps_bars_from_its_first_to_its_newest() -> None:
    assert len(KEPT) == 64
    assert KEPT[0] == (int(FRAME["t"][0]), float(FRAME["close"][0]))
    assert KEPT[-1] == (int(FRAME["t"][1_499]), float(FRAME["close"][1_499]))
    assert len(provenance.anchors(cut(FRAME, 0, 10))) == 10


def test_later_bars_of_the_same_market_are_the_same_where_they_overlap() -> None:
    found = provenance.compare(KEPT, cut(FRAME, 500, 2_000))
    assert 40 <= found.known <= 44
    assert (found.differing, found.example) == (0, "")


def test_another_source_of_the_same_market_may_differ_a_little() -> None:
    other = FRAME | {"close": FRAME["close"] * 1.004}
    assert provenance.compare(KEPT, other).differing == 0


@pytest.mark.parametrize("factor", [0.99, 1.01, 0.0005, np.nan])
def test_another_market_differs_at_every_bar_and_one_is_shown(factor: float) -> None:
    found = provenance.compare(KEPT, FRAME | {"close": FRAME["close"] * factor})
    assert found.differing == found.known == 64
    assert f"the bar of {KEPT[-1][0]} ms closed at {KEPT[-1][1]:g} then" in found.example


def test_bars_of_another_time_are_no_evidence() -> None:
    assert provenance.compare(KEPT, cut(FRAME, 1_500, 2_000)).known == 0
    assert provenance.compare((), FRAME).known == 0
