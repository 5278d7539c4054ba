"""Which bars of a slot are run."""

import pytest

from daemon.backtest.slot_backtest import Span
from hyperdrift.slot_name import SlotName

BTC = SlotName("BTC", "5m")


@pytest.mark.parametrize(
    ("days", "min_bars", "first"), [(None, 500, 500), (1.0, 500, 712), (4.0, 500, 500)]
)
def test_the_newest_days_are_run_and_never_a_bar_before_there_can_be_a_model(
    days: float | None, min_bars: int, first: int
) -> None:
    assert Span(0, days).first_bar(1000, BTC, min_bars) == first


def test_a_bar_lies_before_the_first_so_that_a_run_does_not_begin_at_the_last_close() -> None:
    assert Span(0).first_bar(1000, BTC, 0) == 1
