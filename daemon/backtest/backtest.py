"""Compare what each policy would have done on the stored bars.

A person decides from this whether to trust the daemon. So every policy has the same bars, gates,
costs and first model. Policies and coins do not depend on each other, so they run side by side.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from daemon.backtest import performance, progress
from daemon.backtest.candidate_cache import Candidates, forget_fits
from daemon.backtest.market_replay import Market
from daemon.backtest.policy_run import PolicyRecord, Run
from daemon.backtest.regret import NO_REGRET, Regret, regrets
from daemon.backtest.warm_jobs import WarmJobs
from daemon.config.limits import child_limits, gate_limits, policy_settings, slot_costs
from daemon.config.schema import Config
from daemon.config.secrets import secret_paths
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.market_closures import comparison_slots
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName
from monitor.policy import PolicySettings
from retrain.computers import BUILTIN

_SCHEDULES: Final = {"monthly": 30.0, "weekly": 7.0, "daily": 1.0}
POLICIES: Final = ("drift", "never", *_SCHEDULES)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """One policy's figures.

    `t` (n,) are the opens of all bars in ms, `track` what it lost and earned at each, `engine_s`
    the processor seconds that it took without the retrains.
    """

    policy: str
    record: PolicyRecord
    figures: performance.Performance
    t: NDArray[np.int64]
    track: performance.Track
    engine_s: float
    regret: Regret = NO_REGRET

    def document(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        record = self.record
        return {
            "policy": self.policy,
            **self.counts(),
            **self.figures.document(),
            "regret": self.regret.document(),
            "training_s": round(record.training_s, 1),
            "engine_s": round(self.engine_s, 2),
            "trained": record.trained,
            "decisions": [
                {"at_ms": item.at_ms, "kind": item.kind, "text": item.text}
                for item in record.published
            ],
        }

    def counts(self) -> dict[str, int]:
        """Return how often each kind of event happened."""
        record = self.record
        return {
            "retrains": len(record.trained),
            "refusals": sum(not item["passed"] for item in record.trained),
            "rollbacks": len(record.at("rolled_back")),
            "drift_alarms": len(record.at("drift")),
        }


@dataclass(frozen=True, slots=True)
class SlotBacktest:
    """The results of one slot, a policy each, on the same bars; `cost_bps` of a round trip."""

    slot: SlotName
    results: tuple[BacktestResult, ...]
    cost_bps: float


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


async def backtest(
    config: Config,
    slots: Sequence[SlotName],
    policies: Sequence[str],
    *,
    days: float | None = None,
    quiet: bool,
) -> list[SlotBacktest]:
    """Run each policy over the stored bars of each slot, all side by side.

    Candidates are kept under `<data_dir>/backtest`, so that a second run, also after an
    interrupted one, does not train them again.

    Args:
        config: Settings of the slots, the policy and the gates.
        slots: Which slots.
        policies: Names of policies.
        days: Only the newest so many days are run; models learn from the bars before, too.
        quiet: Show no progress.

    Raises:
        ConfigError: If a slot is not configured, there is no such policy, or the bot computes
            features of its own.
        DataFolderBusy: If another backtest runs on this data folder.
        BadInput: If too few bars are stored.
    """
    gate_limits(config.gates)
    if config.features.computer != BUILTIN:
        msg = "a backtest knows the built-in features only; set features.computer to builtin for it"
        raise ConfigError(msg)
    chosen = list(dict.fromkeys(policies))
    runs = [_SlotRuns(config, slot, chosen, days) for slot in dict.fromkeys(slots)]
    root = config.data_dir / "backtest"
    with folder_lock(root), progress.shown(quiet=quiet) as bars:
        opened = WarmJobs.opened(root, child_limits(config.retrain), secret_paths(config))
        async with opened as jobs, asyncio.TaskGroup() as tasks:
            for each in runs:
                each.begin(tasks, jobs, bars)
        results = [SlotBacktest(each.slot, each.results(), each.cost_bps) for each in runs]
        forget_fits(root)
    return results


class _SlotRuns:
    """The runs of all policies over the bars of one slot."""

    def __init__(
        self, config: Config, slot: SlotName, policies: Sequence[str], days: float | None
    ) -> None:
        base = policy_settings(config.policy, slot)
        self.slot, self._config, self._rate = slot, config, base.false_alarms_per_month
        section = config.slot(slot)
        self._horizon = section.horizon
        hours = section.horizon * slot.interval_ms / HOUR_MS
        self.cost_bps = slot_costs(config, section).round_trip_bps(hours)
        self._settings = {name: policy_settings_of(name, base) for name in policies}
        self._market = _market(config, slot, base.min_bars)
        self._first = _first_bar(len(self._market), slot, base.min_bars, days)
        self._runs = dict[str, Run]()

    def begin(self, tasks: asyncio.TaskGroup, jobs: WarmJobs, bars: Progress) -> None:
        """Start a task for each policy."""
        shared = len(self._settings) > 1
        root = self._config.data_dir / "backtest"
        candidates = Candidates(root, jobs, self._rate, share_fits=shared)
        for name, settings in self._settings.items():
            run = Run(self._market, self._config, settings, candidates, history_bars=self._first)
            self._runs[name] = run
            title = f"{self.slot} {name}"
            shown = progress.PolicyProgress(bars, title, self._first, len(self._market))
            tasks.create_task(run.through(shown.bars, shown.line), name=f"backtest {title}")

    def results(self) -> tuple[BacktestResult, ...]:
        """Return the results of runs that have ended."""
        done = []
        for name, run in self._runs.items():
            figures, track = performance.measure(run.answers(), self._horizon, self.cost_bps)
            opens = self._market.frame["t"]
            done.append(BacktestResult(name, run.record, figures, opens, track, run.engine_s))
        regret = regrets({each.policy: each.track for each in done}, self._horizon)
        return tuple(replace(each, regret=regret[each.policy]) for each in done)


def _market(config: Config, slot: SlotName, min_bars: int) -> Market:
    with open_store(config.data_dir, read_only=True) as store:
        frame = store.frame(slot)
        names = comparison_slots(slot, [section.name for section in config.slots])
        others = [store.bars(other) for other in names]
    if len(frame["t"]) <= min_bars:
        need = f"more than policy.min_bars = {min_bars} are needed: import some"
        raise BadInput(f"{slot} has {len(frame['t'])} bars stored; {need}")
    return Market.of(slot, frame, others)


def _first_bar(bars: int, slot: SlotName, min_bars: int, days: float | None) -> int:
    """Return the first bar to run; the daemon knows those before it."""
    if days is None:
        return min_bars
    return max(min_bars, bars - math.ceil(days * DAY_MS / slot.interval_ms))
