"""The policies that a backtest compares, each as settings of the engine."""

from dataclasses import replace
from typing import Final

from hyperdrift.errors import ConfigError
from monitor.policy import PolicySettings

_SCHEDULES: Final = {"monthly": 30.0, "weekly": 7.0, "daily": 1.0}
POLICIES: Final = ("drift", "never", *_SCHEDULES)
_OF_DRIFT: Final = 1 / 6
"""Retrains a day that an estimate of time counts with; nobody knows them before."""


def policy_settings_of(name: str, base: PolicySettings) -> PolicySettings:
    """Return the settings of a policy; `drift` is the configured one.

    A schedule reacts to nothing else; its cooldown and probation end within its period.

    Raises:
        ConfigError: If there is no such policy.
    """
    if name == "drift":
        return base
    inert = replace(base, on_drift=False, on_win_rate=False, max_age_days=0.0, schedule_days=0.0)
    if name == "never":
        return inert
    if name not in _SCHEDULES:
        raise ConfigError(f"--policy {name!r} is not one of {', '.join(POLICIES)}")
    days = _SCHEDULES[name]
    return replace(
        inert,
        schedule_days=days,
        cooldown_hours=min(base.cooldown_hours, 24 * days),
        probation_hours=min(base.probation_hours, 24 * days - 1),
    )


def retrains_a_day(name: str) -> float:
    """Return about how often a policy retrains, for an estimate of time."""
    if name in _SCHEDULES:
        return 1 / _SCHEDULES[name]
    return _OF_DRIFT if name == "drift" else 0.0
