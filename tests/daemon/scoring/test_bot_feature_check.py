import math

import pytest

from daemon.scoring.bot_feature_check import KEPT_BARS, KEPT_ROWS, BotFeatureCheck, Compared
from monitor.events import FeaturesAgreed, FeaturesDiffered

NAMES = ("a", "b", "c")
ROW = (1.0, -2.0e-4, 3.0e5)
BAR_MS = 300_000


@pytest.fixture
def sentinel() -> BotFeatureCheck:
    return BotFeatureCheck("BTC-5m", NAMES)


def agreed(found: list[Compared]) -> bool:
    return [type(event) for event in found] == [FeaturesAgreed]


def test_rows_that_are_equal_to_a_billionth_agree_and_those_that_are_not_name_the_column(
    sentinel: BotFeatureCheck,
) -> None:
    sentinel.scored(0, ROW, 9)
    assert agreed(sentinel.predicted(0, (1.0 + 9e-10, -2.0e-4, 3.0e5 * (1 - 9e-10)), 9))
    (found,) = sentinel.predicted(0, (1.0, -2.0e-4 + 2e-9, 3.1e5), 10)
    assert found == FeaturesDiffered(
        slot="BTC-5m", at_ms=10, t=0, column="b", theirs=-2.0e-4 + 2e-9, ours=-2.0e-4, others=1
    )


def test_a_bot_may_answer_before_we_do_and_long_after(sentinel: BotFeatureCheck) -> None:
    assert sentinel.predicted(0, ROW, 1) == []
    assert agreed(sentinel.scored(0, ROW, 2))
    for n in range(1, KEPT_BARS):
        assert sentinel.scored(n * BAR_MS, ROW, 3) == []
    assert agreed(sentinel.predicted(BAR_MS, (*ROW[:2], math.nextafter(ROW[2], 0)), 4))
    sentinel.scored(KEPT_BARS * BAR_MS, ROW, 5)
    assert sentinel.predicted(0, (0.0, 0.0, 0.0), 6) == [], "too late to compare"


def test_a_prediction_that_is_delivered_twice_counts_once_but_another_row_is_compared(
    sentinel: BotFeatureCheck,
) -> None:
    sentinel.predicted(0, ROW, 1)
    sentinel.predicted(0, ROW, 1)
    assert agreed(sentinel.scored(0, ROW, 2))
    assert sentinel.predicted(0, ROW, 3) == []
    (second_bot,) = sentinel.predicted(0, (1.0, -2.0e-4, 0.0), 4)
    assert isinstance(second_bot, FeaturesDiffered)
    assert second_bot.column == "c"


def test_however_many_rows_are_sent_of_a_bar_it_differs_once_and_agrees_once(
    sentinel: BotFeatureCheck,
) -> None:
    early = [sentinel.predicted(0, (1.0, -2.0e-4, float(n)), 1) for n in range(1000)]
    found = [*early, sentinel.scored(0, ROW, 2)]
    sentinel.scored(BAR_MS, ROW, 3)
    for n in range(1000):
        found.append(sentinel.predicted(BAR_MS, (1.0 + n * 1e-13, *ROW[1:]), 4))
        found.append(sentinel.predicted(0, (float(n), 0.0, 0.0), 4))
        found.append(sentinel.predicted(BAR_MS, (1.0, -2.0e-4, float(n)), 4))
    told = [(type(event), event.t) for events in found for event in events]
    assert told == [(FeaturesDiffered, 0), (FeaturesAgreed, BAR_MS), (FeaturesDiffered, BAR_MS)]


@pytest.mark.parametrize("undefined", [None, math.inf])
def test_what_the_bot_has_undefined_and_we_have_not_differs(
    sentinel: BotFeatureCheck, undefined: float | None
) -> None:
    sentinel.scored(0, ROW, 1)
    (found,) = sentinel.predicted(0, (1.0, undefined, 3.0e5), 1)
    assert isinstance(found, FeaturesDiffered)
    assert (found.column, found.theirs, found.ours) == ("b", None, -2.0e-4)


def test_our_own_lack_of_history_is_nobodys_mismatch(sentinel: BotFeatureCheck) -> None:
    sentinel.scored(0, (1.0, math.nan, 3.0e5), 1)
    assert sentinel.predicted(0, ROW, 1) == []


def test_a_row_of_another_length_differs_in_length(sentinel: BotFeatureCheck) -> None:
    sentinel.scored(0, ROW, 1)
    (found,) = sentinel.predicted(0, ROW[:2], 1)
    assert isinstance(found, FeaturesDiffered)
    assert (found.column, found.theirs, found.ours) == ("the number of features", 2, 3)


def test_a_bot_that_sends_nonsense_for_ever_fills_no_memory(sentinel: BotFeatureCheck) -> None:
    sentinel.scored(0, ROW, 1)
    for n in range(3 * KEPT_ROWS):
        sentinel.predicted(BAR_MS * (n + 1), ROW, 1)
    assert len(sentinel._early) == KEPT_ROWS
