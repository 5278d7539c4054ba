"""A policy other than the configured one reacts to its schedule alone."""

from dataclasses import replace

import pytest

from daemon.backtest.policies import policy_settings_of
from hyperdrift.errors import ConfigError
from monitor.policy import PolicySettings


def test_policies_other_than_the_configured_one_are_deaf_to_evidence() -> None:
    base = PolicySettings()
    assert policy_settings_of("drift", base) == base
    never = policy_settings_of("never", base)
    assert not never.on_drift
    assert not never.on_win_rate
    assert (never.max_age_days, never.schedule_days) == (0, 0)
    daily = policy_settings_of("daily", base)
    assert daily == replace(never, schedule_days=1.0, probation_hours=23.0)
    with pytest.raises(ConfigError, match="--policy 'hourly' is not one of drift, never, monthly"):
        policy_settings_of("hourly", base)
