"""The policy and the gates of a configuration: a misspelt limit is not a limit."""

import pytest

from daemon.config.limits import (
    child_limits,
    gate_limits,
    policy_settings,
    shared_limits,
    slot_costs,
    threads_each,
)
from daemon.config.schema import Config, CostsSection, RetrainSection, SlotSection
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName

BTC = SlotName("BTC", "5m")


def test_an_empty_section_gives_the_defaults_of_the_interval() -> None:
    assert policy_settings({}, BTC).min_new_bars == 288
    assert policy_settings({}, SlotName("BTC", "1d")).min_new_bars == 14


def test_what_the_section_says_is_taken() -> None:
    assert policy_settings({"cooldown_hours": 3}, BTC).cooldown_hours == 3.0
    assert policy_settings({"on_drift": False}, BTC).on_drift is False
    assert gate_limits({"test_accuracy": 0.6}).test_accuracy == 0.6


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"cooldown_hour": 3.0}, r"\[policy\] 'cooldown_hour' .* did you mean 'cooldown_hours'\?"),
        ({"min_bars": 0.5}, r"\[policy\] min_bars = 0.5; write a whole number"),
        ({"min_bars": float("inf")}, r"\[policy\] min_bars = inf; write a whole number"),
        ({"retry_bars": float("nan")}, r"\[policy\] retry_bars = nan; write a whole number"),
        ({"max_age_days": True}, r"\[policy\] max_age_days = true; write a number of at least 0"),
        ({"on_drift": 0.5}, r"\[policy\] on_drift = 0.5; write true or false"),
        ({"win_rate_floor": 45.0}, r"win_rate_floor = 45.0; write a fraction, like 0.55 for 55 %"),
        ({"max_age_days": -1.0}, r"\[policy\] max_age_days = -1.0; write a number of at least 0"),
        ({"probation_hours": float("inf")}, r"probation_hours = inf; write a number up to 1,000"),
        ({"win_rate_trades": 0}, r"win_rate_trades = 0; write a whole number of at least 1"),
    ],
)
def test_a_wrong_limit_of_the_policy_is_refused(section: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        policy_settings(section, BTC)


def test_a_misspelt_gate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[gates\] 'test_acuracy' .* 'test_accuracy'"):
        gate_limits({"test_acuracy": 0.6})


def test_a_gate_without_an_end_is_refused_as_the_child_that_judges_would() -> None:
    with pytest.raises(ConfigError, match=r"\[gates\] overfit = inf; write a number up to 1,000"):
        gate_limits({"overfit": float("inf")})


def test_a_share_in_per_cent_is_refused_as_no_model_would_ever_pass() -> None:
    with pytest.raises(ConfigError, match=r"\[gates\] test_accuracy = 55.0; write a fraction"):
        gate_limits({"test_accuracy": 55.0})
    assert gate_limits({"calibrated": 2.0}).calibrated == 2.0  # switched off


def test_a_slot_has_the_costs_of_the_section_where_it_says_nothing_else() -> None:
    config = Config(costs=CostsSection(slippage_bps=1.0, entry="maker"))
    slot = SlotSection(coin="HYPE", costs={"slippage_bps": 3.0})
    assert slot_costs(config, slot).round_trip_bps(0) == 1.5 + 4.5 + 3.0
    assert slot_costs(config, SlotSection(coin="BTC")).round_trip_bps(0) == 1.5 + 4.5 + 1.0


def test_retrains_that_run_together_share_the_memory_and_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone, four = RetrainSection(memory_mib=4096), RetrainSection(memory_mib=4096, parallel=4)
    assert shared_limits(alone) == child_limits(alone)
    assert shared_limits(four).memory_mib == 1024
    assert shared_limits(RetrainSection(memory_mib=0, parallel=4)).memory_mib == 0
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    assert [threads_each(sharing) for sharing in (1, 2, 3, 4, 9)] == [2, 2, 1, 1, 1]
