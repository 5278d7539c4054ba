"""Turn `[policy]`, `[gates]`, `[costs]` and `[retrain]` into what the code that uses them takes.

The names in `[policy]` and `[gates]` are defined where they are used, in `monitor` and
`retrain`; this module makes a misspelt one a clear error instead of a limit that is not applied.
"""

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

import msgspec

from daemon.config.backend import OWN_CLUSTER, own_workers
from daemon.config.schema import Config, RetrainSection, SlotSection
from daemon.config.validation_errors import shown, unknown
from daemon.core import subprocesses
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from monitor.policy import PolicySettings, default_settings
from retrain.deciding.costs import Costs
from retrain.judging.gate_limits import EARNS, GateLimits

# More threads take more memory, and the fits of one retrain do not need them.
_THREADS: Final = 2
# Lower limits that are fractions: with 55 instead of 0.55 nothing would ever pass.
_SHARES: Final = frozenset(
    {"train_accuracy", "test_accuracy", "all_classes", "same_bars", "win_rate_floor"}
)
# A share of no trades is none.
_FROM_ONE: Final = frozenset({"win_rate_trades"})
# Who writes more means "never". A time that far away has no date, and infinity is no JSON.
_MOST: Final = 1_000_000


def child_limits(section: RetrainSection) -> subprocesses.Limits:
    """Return the limits of a retrain's child process."""
    return subprocesses.Limits(section.python, section.nice, section.timeout_s, section.memory_mib)


def shared_limits(section: RetrainSection) -> subprocesses.Limits:
    """Return the limits of one of the children that share the memory.

    They are `retrain.parallel`, or the workers of this host's own cluster if those are more.
    """
    limits, sharing = child_limits(section), section.parallel
    if section.backend == OWN_CLUSTER:
        sharing = max(sharing, own_workers(limits.memory_mib))
    return replace(limits, memory_mib=limits.memory_mib // sharing)


def threads_each(sharing: int) -> int:
    """Return on how many threads a child trains that shares the cores of this host.

    Args:
        sharing: How many children there are.
    """
    return max(1, min(_THREADS, len(os.sched_getaffinity(0)) // sharing))


def policy_settings(section: Mapping[str, Any], slot: SlotName) -> PolicySettings:
    """Return the policy of a slot: the section, and the defaults of its interval.

    Raises:
        ConfigError: If a key is not a setting, or a value not of its kind or negative.
    """
    default = default_settings(slot.interval_ms)
    return replace(default, **_checked("policy", section, default))


def fetched_ms(config: Config, slot: SlotSection) -> int:
    """Return how far back the bars of a slot are fetched, ms.

    What a model learns from, and as much as its first one waits for: it would wait for months
    where `history_days` is shorter.
    """
    least = policy_settings(config.policy, slot.name).min_bars * slot.name.interval_ms
    return max(slot.history_ms, least)


def slot_costs(config: Config, slot: SlotSection) -> Costs:
    """Return the costs of a slot; their `round_trip_bps` is what every figure subtracts."""
    return Costs(**msgspec.structs.asdict(config.costs_of(slot)))


def gate_limits(section: Mapping[str, Any]) -> GateLimits:
    """Return the limits of the gates.

    Raises:
        ConfigError: If a key is not a gate, or a value not of its kind or negative.
    """
    default = GateLimits()
    return replace(default, **_checked("gates", section, default))


def _checked(name: str, section: Mapping[str, Any], default: Any) -> dict[str, Any]:
    known = {field.name: getattr(default, field.name) for field in fields(default)}
    checked: dict[str, Any] = {}
    for key, value in section.items():
        if key not in known:
            raise ConfigError(unknown(name, key))
        if wanted := _wanted(key, value, kind := type(known[key])):
            raise ConfigError(f"[{name}] {key} = {shown(value)}; write {wanted}")
        checked[key] = kind(value)
    return checked


def _wanted(key: str, value: Any, kind: type) -> str:
    """Return what to write instead of a value, "" if its type is right."""
    if kind is str:
        return "" if value in EARNS else " or ".join(f'"{one}"' for one in EARNS)
    if kind is bool:
        return "" if value in (0, 1) else "true or false"
    least = 1 if key in _FROM_ONE else 0
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not value >= least or (kind is int and value % 1 != 0):
        return f"a {'whole ' * (kind is int)}number of at least {least}"
    if value > _MOST:
        return f"a number up to {_MOST:,}"
    return "a fraction, like 0.55 for 55 %" if key in _SHARES and value > 1 else ""
