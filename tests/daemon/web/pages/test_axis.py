import pytest

from daemon.web.pages.axis import Axis, time_ticks, value_axis, value_ticks

DAY_MS = 86_400_000
FRIDAY = 1_754_006_400_000  # 2025-08-01 00:00


def test_a_value_outside_the_axis_lies_at_its_end() -> None:
    axis = Axis(0, 10)
    assert [axis.place(value) for value in (-5, 0, 2.5, 10, 99)] == [0, 0, 25, 100, 100]


def test_an_axis_of_values_has_room_and_zero_in_it() -> None:
    axis = value_axis([50.0, 100.0])
    assert axis.low == pytest.approx(-8)
    assert axis.high == pytest.approx(108)
    flat = value_axis([0.0])
    assert flat.low < 0 < flat.high


@pytest.mark.parametrize("high", [0.003, 1.0, 7.0, 123.0, 98_765.0])
def test_values_are_labelled_at_round_ones_with_zero_among_them(high: float) -> None:
    ticks = value_ticks(value_axis([-high / 2, high]))
    assert 2 <= len(ticks) <= 7
    assert sum(tick.text == "0 bp" for tick in ticks) == 1
    assert len({tick.text for tick in ticks}) == len(ticks)


def test_times_are_labelled_by_the_day_and_within_one_by_the_hour() -> None:
    ten_days = time_ticks(Axis(FRIDAY - 10 * DAY_MS, FRIDAY))
    assert [tick.text for tick in ten_days] == ["23 Jul", "25 Jul", "27 Jul", "29 Jul", "31 Jul"]
    half_a_day = time_ticks(Axis(FRIDAY - 6 * 3_600_000, FRIDAY + 6 * 3_600_000))
    assert [tick.text for tick in half_a_day] == ["18:00", "21:00", "1 Aug", "03:00", "06:00"]
    assert half_a_day[0].anchor == "start"
    assert half_a_day[-1].anchor == "end"


def test_a_span_of_centuries_has_few_labels() -> None:
    assert len(time_ticks(Axis(0, 250_000_000_000_000))) <= 10
