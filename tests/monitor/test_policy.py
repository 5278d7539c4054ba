from dataclasses import replace

import pytest

from monitor.policy import (
    DAY_MS,
    HOUR_MS,
    PolicySettings,
    Situation,
    Start,
    Wait,
    causes,
    collecting,
    decide,
    default_settings,
    earliest_ms,
)

NOW_MS = 100 * DAY_MS
LIMITS = PolicySettings()
CALM = Situation(now_ms=NOW_MS, interval_ms=300_000, bars=9_000, trained_to_ms=NOW_MS - 5 * DAY_MS)


def trigger(now: Situation, limits: PolicySettings = LIMITS) -> str | None:
    choice = decide(limits, now)
    return choice.trigger if isinstance(choice, Start) else None


def reason(now: Situation, limits: PolicySettings = LIMITS) -> str:
    choice = decide(limits, now)
    assert isinstance(choice, Wait)
    return choice.reason


def test_without_evidence_it_waits() -> None:
    assert reason(CALM) == "no evidence against the live model"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"drifted": ("rv_1h",)}, "drift"),
        ({"fell": "44 %"}, "win_rate"),
        ({"trained_to_ms": NOW_MS - 30 * DAY_MS}, "age"),
        ({"trained_to_ms": None}, "first"),
    ],
)
def test_each_kind_of_evidence_starts_a_retrain(change: dict[str, object], expected: str) -> None:
    assert trigger(replace(CALM, **change)) == expected  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paused": True}, "paused"),
        ({"under_way": "retrain 7 is running"}, "retrain 7 is running"),
        ({"on_probation": True}, "probation"),
        ({"began_ms": (NOW_MS - 11 * HOUR_MS,)}, "cooling down for 12 h"),
        ({"began_ms": (NOW_MS - 20 * HOUR_MS, NOW_MS - 13 * HOUR_MS)}, "already 2 retrains"),
        ({"trained_to_ms": NOW_MS - 23 * HOUR_MS}, "fewer than 288 bars"),
        ({"unsuccessful_ms": NOW_MS - 23 * HOUR_MS}, "did not succeed"),
    ],
)
def test_each_limit_holds_evidence_back_and_says_so(change: dict[str, object], says: str) -> None:
    choice = decide(LIMITS, replace(CALM, drifted=("rv_1h",), **change))  # type: ignore[arg-type] # by name
    assert isinstance(choice, Wait)
    assert says in choice.reason
    assert choice.evidence in {(), ("drift", "drift of rv_1h")}


@pytest.mark.parametrize(
    ("refusals", "days"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (500, 8)]
)
def test_each_refusal_in_a_row_doubles_the_wait_beside_a_live_model(
    refusals: int, days: int
) -> None:
    drifted = replace(CALM, drifted=("rv_1h",), refusals=refusals)
    early = replace(drifted, unsuccessful_ms=NOW_MS - days * DAY_MS + 1)
    assert f"the next may start {288 * days} bars on" in reason(early)
    assert earliest_ms(LIMITS, early) == NOW_MS + 1
    assert trigger(replace(drifted, unsuccessful_ms=NOW_MS - days * DAY_MS)) == "drift"


def test_a_limit_of_no_retrain_a_day_lets_none_start_and_breaks_nothing() -> None:
    none, now = replace(LIMITS, max_retrains_per_day=0), replace(CALM, drifted=("rv_1h",))
    assert reason(now, none) == "already 0 retrains within 24 h"
    assert earliest_ms(none, replace(now, began_ms=())) >= now.now_ms


def test_what_would_cause_a_retrain_is_what_the_settings_let_start_one() -> None:
    assert causes(LIMITS, has_model=False) == (f"{LIMITS.min_bars} stored bars",)
    everything = replace(LIMITS, schedule_days=7.0)
    assert causes(everything, has_model=True) == (
        "drift of a feature",
        "a fallen win rate",
        f"a model older than {LIMITS.max_age_days:g} days",
        "7 days since the last retrain",
    )
    nothing = replace(LIMITS, on_drift=False, on_win_rate=False, max_age_days=0.0)
    assert causes(nothing, has_model=True) == ()
    none = replace(everything, max_retrains_per_day=0)
    assert causes(none, has_model=True) == ()
    assert causes(none, has_model=False) != ()


def test_without_a_model_or_by_a_schedule_no_refusal_doubles_the_wait() -> None:
    refused = replace(CALM, refusals=5, unsuccessful_ms=NOW_MS - DAY_MS)
    assert trigger(replace(refused, trained_to_ms=None)) == "first"
    daily = replace(LIMITS, schedule_days=1.0)
    choice = decide(daily, replace(refused, began_ms=(NOW_MS - DAY_MS,)))
    assert isinstance(choice, Start)
    assert choice.trigger == "schedule"


def test_evidence_that_has_to_wait_for_longer_does_not_hold_up_the_schedule() -> None:
    daily = replace(LIMITS, schedule_days=1.0)
    refused = {"refusals": 5, "unsuccessful_ms": NOW_MS - DAY_MS, "began_ms": (NOW_MS - DAY_MS,)}
    drifted = replace(CALM, drifted=("rv_1h",), **refused)  # type: ignore[arg-type] # by name
    assert earliest_ms(daily, drifted) == NOW_MS
    assert trigger(drifted, daily) == "schedule"
    assert "5 retrains in a row were refused" in reason(drifted)


def test_a_reason_to_wait_stays_the_same_while_nothing_changes() -> None:
    held = replace(CALM, drifted=("rv_1h",), began_ms=(NOW_MS - HOUR_MS,))
    later = replace(held, now_ms=NOW_MS + HOUR_MS)
    assert decide(LIMITS, held) == decide(LIMITS, later)


def test_the_first_model_needs_bars_and_nothing_else() -> None:
    first = replace(CALM, trained_to_ms=None, bars=4_999)
    assert "the first model needs 5000" in reason(first)
    assert trigger(replace(first, bars=5_000, began_ms=(NOW_MS - HOUR_MS,) * 2)) == "first"


def test_evidence_can_be_switched_off_and_a_schedule_on() -> None:
    never = PolicySettings(on_drift=False, on_win_rate=False, max_age_days=0.0)
    old = replace(CALM, drifted=("x",), fell="44 %", trained_to_ms=NOW_MS - 400 * DAY_MS)
    assert trigger(old, never) is None
    weekly = replace(never, schedule_days=7.0)
    assert trigger(old, weekly) == "schedule"
    assert trigger(replace(old, began_ms=(NOW_MS - 6 * DAY_MS,)), weekly) is None


def test_defaults_suit_the_interval() -> None:
    assert default_settings(300_000) == PolicySettings()
    assert default_settings(HOUR_MS).min_new_bars == 24
    assert default_settings(DAY_MS).min_bars == 1_000
    ages = {each: default_settings(each).max_age_days for each in (300_000, HOUR_MS, DAY_MS)}
    assert ages == {300_000: 7, HOUR_MS: 7, DAY_MS: 30}, "few bars are new in a week of days"


def test_collecting_has_the_count_the_pace_the_date_and_what_is_faster() -> None:
    new = replace(CALM, trained_to_ms=None, bars=4424)  # two days of 5m bars are missing
    assert reason(new) == "collecting bars: the first model needs 5000"
    assert collecting(LIMITS, new) == (
        "4424 are stored and 288 come a day, so there will be enough on 1970-04-13 00:00 UTC,"
        " or sooner if you `hyperdrift import` older ones"
    )
    assert "in more than 3650 days" in collecting(replace(LIMITS, min_bars=10**9), new)


@pytest.mark.parametrize(
    "change", [{"trained_to_ms": NOW_MS}, {"bars": 5000}, {"under_way": "retrain 7 is running"}]
)
def test_nothing_is_collected_for_a_model_that_is_there_or_on_its_way(
    change: dict[str, object],
) -> None:
    new = replace(CALM, trained_to_ms=None, bars=4424)
    assert collecting(LIMITS, replace(new, **change)) == ""  # type: ignore[arg-type] # by name
