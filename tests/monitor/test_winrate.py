import math
import random

import pytest

from monitor.errors import BadObservation
from monitor.policy import DAY_MS
from monitor.winrate import WinRate, WinRateFell


def alarms(record: WinRate, outcomes: list[bool]) -> list[tuple[int, WinRateFell]]:
    return [
        (i, fell)
        for i, won in enumerate(outcomes)
        for fell in record.update(i, won, 1.0 if won else -1.0)
        if fell.kind != "streak"
    ]


def trades(rng: random.Random, rate: float, count: int) -> list[bool]:
    return [rng.random() < rate for _ in range(count)]


def test_at_most_two_in_a_hundred_stable_records_raise_an_alarm_in_a_thousand_trades() -> None:
    rng = random.Random(1)
    raised = sum(bool(alarms(WinRate(0.55), trades(rng, 0.55, 1_000))) for _ in range(300))
    assert raised <= 10  # 2 % of 300, and its standard error twice


@pytest.mark.parametrize("stable", [0, 300])
def test_a_fall_from_55_to_45_percent_is_seen_within_260_trades_in_the_median(stable: int) -> None:
    rng = random.Random(2)
    delays = []
    for _ in range(101):
        outcomes = trades(rng, 0.55, stable) + trades(rng, 0.45, 1_500)
        found = [i for i, _ in alarms(WinRate(0.55), outcomes)]
        delays.append(next(i for i in found if i >= stable) - stable + 1 if found else 1_500)
    assert sorted(delays)[50] <= 260


def test_without_a_judged_rate_the_first_trades_set_it() -> None:
    rng = random.Random(3)
    record = WinRate(None, floor=0.3)
    found = alarms(record, trades(rng, 0.8, 400) + trades(rng, 0.5, 400))
    assert [fell.kind for _, fell in found] == ["cusum"]
    assert found[0][0] > 400
    assert "its rate before" in found[0][1].text


def test_a_rate_below_the_floor_is_told_once() -> None:
    found = alarms(WinRate(0.55), [i % 5 < 2 for i in range(300)])
    kinds = [fell.kind for _, fell in found]
    assert sorted(kinds) == ["cusum", "floor"]
    (floor,) = [fell for _, fell in found if fell.kind == "floor"]
    assert floor.text == "40% of the last 100 won, the floor is 45%"


def test_a_losing_streak_is_told_once_each_time_it_happens() -> None:
    record = WinRate(0.55)
    outcomes = ([True] * 30 + [False] * 13) * 2
    streaks = [
        fell.text
        for i, won in enumerate(outcomes)
        for fell in record.update(i, won, 0.0)
        if fell.kind == "streak"
    ]
    assert streaks == ["12 losses in a row"] * 2


def test_the_pnl_covers_seven_days() -> None:
    record = WinRate(0.55)
    record.update(0, True, 5.0)
    record.book(DAY_MS, 2.0)
    assert record.pnl(DAY_MS) == 7.0
    assert record.pnl(7 * DAY_MS) == 2.0
    assert record.trades == 1


def test_reset_forgets_the_record_and_keeps_the_pnl() -> None:
    record = WinRate(0.55)
    record.update(0, True, 5.0)
    record.reset(0.6)
    assert (record.rate, record.trades, record.pnl(0)) == (None, 0, 5.0)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_a_few_signals_that_all_won_or_all_lost_is_no_rate_to_hold(rate: float) -> None:
    record, unknown = WinRate(0.55), WinRate(None)
    record.reset(rate)
    outcomes = [n % 2 == 0 for n in range(200)] + [False] * 30
    for n, won in enumerate(outcomes):
        assert record.update(n, won, 1.0) == unknown.update(n, won, 1.0)


def test_numbers_that_no_trade_has_are_refused() -> None:
    with pytest.raises(BadObservation, match="pnl must be a finite number"):
        WinRate().update(0, True, math.nan)
    with pytest.raises(BadObservation, match="reference_rate"):
        WinRate(1.5)
