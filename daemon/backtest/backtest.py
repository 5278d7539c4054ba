"""Compare what each policy would have done on the stored bars.

A person decides from this whether to trust the daemon. So every policy has the same bars, gates,
fees and first model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from daemon.backtest import performance
from daemon.backtest.candidate_cache import Candidates
from daemon.backtest.market_replay import Market
from daemon.backtest.policy_run import PolicyRecord, Run
from daemon.config.limits import child_limits, gate_limits, policy_settings
from daemon.config.schema import Config
from daemon.store.data_folder import open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.market_closures import comparison_slots
from daemon.training.jobs import Jobs
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.slot_name import SlotName
from monitor.policy import PolicySettings
from retrain import labels
from retrain.computers import BUILTIN

_SCHEDULES: Final = {"weekly": 7.0, "daily": 1.0}
POLICIES: Final = ("drift", "never", *_SCHEDULES)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """One policy's figures.

    `t` (n,) are the opens of all bars in ms, `equity` (n,) the running sum of the returns after
    fees, `engine_s` the seconds that it took without the retrains.
    """

    policy: str
    record: PolicyRecord
    figures: performance.Performance
    t: NDArray[np.int64]
    equity: NDArray[np.float64]
    engine_s: float

    def document(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        record = self.record
        return {
            "policy": self.policy,
            **self.counts(),
            **self.figures.document(),
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
    config: Config, slot: SlotName, policies: Sequence[str], clock: Clock, *, quiet: bool
) -> list[BacktestResult]:
    """Run each policy over all stored bars of a slot, one after another.

    Candidates are kept under `<data_dir>/backtest`, so that a second run, also after an
    interrupted one, does not train them again.

    Raises:
        ConfigError: If the slot is not configured, there is no such policy, or the bot computes
            features of its own.
        DataFolderBusy: If another backtest runs on this data folder.
        BadInput: If too few bars are stored.
    """
    gate_limits(config.gates)
    if config.features.computer != BUILTIN:
        msg = "a backtest knows the built-in features only; set features.computer to builtin for it"
        raise ConfigError(msg)
    base = policy_settings(config.policy, slot)
    chosen = {name: policy_settings_of(name, base) for name in dict.fromkeys(policies)}
    config.slot(slot)
    root = config.data_dir / "backtest"
    with folder_lock(root):
        market = _market(config, slot, base)
        jobs = Jobs(root, child_limits(config.retrain))
        candidates = Candidates(root, jobs, base.false_alarms_per_month)
        with _progress(len(market) * len(chosen), quiet=quiet) as shown:
            results = []
            for number, (name, settings) in enumerate(chosen.items()):
                run = Run(
                    market,
                    config,
                    settings,
                    candidates,
                    history_bars=base.min_bars,
                    timer=clock.monotonic,
                )
                shown.begin(name, number * len(market))
                began = clock.monotonic()
                await run.through(shown.bars, shown.line)
                results.append(_result(name, run, config, market, clock.monotonic() - began))
        candidates.forget_fits()
    return results


def _market(config: Config, slot: SlotName, base: PolicySettings) -> Market:
    with open_store(config.data_dir, read_only=True) as store:
        frame = store.frame(slot)
        names = comparison_slots(slot, [section.name for section in config.slots])
        others = [store.bars(other) for other in names]
    if len(frame["t"]) <= base.min_bars:
        need = f"more than policy.min_bars = {base.min_bars} are needed: import some"
        raise BadInput(f"{slot} has {len(frame['t'])} bars stored; {need}")
    return Market.of(slot, frame, others)


def _result(name: str, run: Run, config: Config, market: Market, seconds: float) -> BacktestResult:
    section, close = config.slot(market.slot), market.frame["close"]
    made = run.threshold or section.label_threshold
    threshold = labels.resolve_threshold(made, close, section.horizon)
    figures, equity = performance.measure(run.answers(), section.horizon, threshold)
    return BacktestResult(
        name, run.record, figures, market.frame["t"], equity, seconds - run.waited_s
    )


class _Shown:
    """Shows progress: bars over all policies, and the step of the training child process."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._name, self._before = progress, "", 0
        self._task = progress.add_task("", total=total, step="")

    def begin(self, name: str, before: int) -> None:
        self._name, self._before = name, before
        self._progress.update(self._task, description=name)

    def bars(self, done: int) -> None:
        self._progress.update(self._task, completed=self._before + done, step="")

    def line(self, line: dict[str, Any]) -> None:
        if line.get("event") == "progress":
            step = f"training, {line['step']} {float(line['percent']):.0f} %"
            self._progress.update(self._task, step=step)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[_Shown]:
    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[step]}"),
    )
    console = Console(stderr=True, quiet=quiet)
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Shown(progress, total)
