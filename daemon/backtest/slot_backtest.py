"""Run all policies over the bars of one slot at one horizon.

They share the bars, the features and what they train at the same bar. When they have ended, only
their figures stay in memory: a grid has hundreds of such slots.
"""

import asyncio
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from daemon.backtest import performance
from daemon.backtest.backends import TrainingPlaces
from daemon.backtest.candidate_cache import Candidates, forget_fits
from daemon.backtest.kept_cells import CellContent, KeptCell, KeptCells
from daemon.backtest.market_replay import Market
from daemon.backtest.policies import policy_settings_of
from daemon.backtest.policy_run import Run
from daemon.backtest.progress import CellProgress, title
from daemon.backtest.regret import NO_REGRET, regrets
from daemon.backtest.results import (
    BacktestResult,
    CellFailure,
    Counts,
    SlotBacktest,
    Tracks,
    failure_of,
)
from daemon.config.limits import policy_settings, slot_costs
from daemon.config.schema import Config, SlotSection
from daemon.core.tasks import single_failure
from daemon.store.data_folder import open_store
from daemon.store.market_closures import comparison_slots
from hyperdrift.errors import BadInput, HyperdriftError
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName
from monitor.policy import PolicySettings


class CellEnded(Protocol):
    """Takes note of a cell that has ended."""

    def __call__(self, name: str, *, kept: bool, found: bool = False) -> None:
        """Take note; `kept` if no other run has to run it, `found` if this one had not to."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Which bars are run: the newest `days`, all if None, of those that opened by `until_ms`."""

    until_ms: int
    days: float | None = None

    def first_bar(self, bars: int, slot: SlotName, min_bars: int) -> int:
        """Return the first bar to run; the daemon knows those before it, one at least."""
        least = max(1, min_bars)  # the close of the one before is when the run begins
        if self.days is None:
            return least
        return max(least, bars - math.ceil(self.days * DAY_MS / slot.interval_ms))


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the cells of a slot share: its bars, the first to run, and what is on disk."""

    market: Market
    first: int
    kept: KeptCells
    candidates: Candidates


class SlotRuns:
    """The cells of one slot at one horizon.

    Args:
        config: Settings of the policy and the gates.
        section: The slot, with its labels.
        span: Which bars.
        training: Trains the candidates.
        ended: Called when a cell has ended.
    """

    def __init__(
        self,
        config: Config,
        section: SlotSection,
        span: Span,
        training: TrainingPlaces,
        ended: CellEnded,
    ) -> None:
        self._config, self._section, self._span, self._training = config, section, span, training
        self._ended = ended
        self._slot, self._root = section.name, config.data_dir / "backtest"
        self._base = policy_settings(config.policy, self._slot)
        hours = section.horizon * self._slot.interval_ms / HOUR_MS
        self._cost_bps = slot_costs(config, section).round_trip_bps(hours)
        self._label = f"{self._slot} {section.horizon} bars"

    async def results(
        self, policies: Sequence[str], shown: Sequence[CellProgress]
    ) -> tuple[SlotBacktest, Tracks | None]:
        """Return the results of all policies, and what they did at each bar.

        Args:
            policies: Their names.
            shown: Shows how far each has come.
        """
        try:
            market = await asyncio.to_thread(self._market)
        except BadInput as e:
            for name, cell in zip(policies, shown, strict=True):
                cell.skip()
                self._ended(title(self._section, name), kept=False)
            none = (BacktestResult(name, failure=CellFailure.of(e)) for name in policies)
            return self._together(tuple(none)), None
        first = self._span.first_bar(len(market), self._slot, self._base.min_bars)
        kept = await asyncio.to_thread(
            KeptCells, self._root, self._config, self._section, market, first
        )
        fits = hashlib.sha256(self._label.encode()).hexdigest()[:16]
        shared = fits if self._training.is_here and len(policies) > 1 else None
        rate = self._base.false_alarms_per_month
        candidates = Candidates(self._root, self._training.jobs, rate, shared)
        together = _Shared(market, first, kept, candidates)
        with single_failure():
            async with asyncio.TaskGroup() as tasks:
                begun = [
                    tasks.create_task(
                        self._cell(name, together, progress),
                        name=f"backtest {self._label} {name}",
                    )
                    for name, progress in zip(policies, shown, strict=True)
                ]
        await asyncio.to_thread(forget_fits, self._root, fits)
        cells = dict(zip(policies, (task.result() for task in begun), strict=True))
        results = [_result(name, cell) for name, cell in cells.items()]
        tracks = {
            one.policy: cell.track
            for one, cell in zip(results, cells.values(), strict=True)
            if isinstance(cell, KeptCell) and one.failure is None
        }
        regret = await asyncio.to_thread(regrets, tracks, self._section.horizon)
        done = (replace(one, regret=regret.get(one.policy, NO_REGRET)) for one in results)
        return self._together(tuple(done)), Tracks(market.frame["t"], tracks)

    def _together(self, results: tuple[BacktestResult, ...]) -> SlotBacktest:
        return SlotBacktest(self._slot, self._section.horizon, results, self._cost_bps)

    async def _cell(
        self, name: str, shared: _Shared, progress: CellProgress
    ) -> KeptCell | CellFailure:
        settings = policy_settings_of(name, self._base)
        found = await asyncio.to_thread(shared.kept.find, name, settings)
        if found is not None:
            progress.skip()
            self._ended(title(self._section, name), kept=True, found=True)
            return found
        cell = await self._run(name, settings, shared, progress)
        kept = isinstance(cell, KeptCell) and cell.content.record.is_whole
        self._ended(title(self._section, name), kept=kept)
        return cell

    async def _run(
        self, name: str, settings: PolicySettings, shared: _Shared, progress: CellProgress
    ) -> KeptCell | CellFailure:
        market, first = shared.market, shared.first
        run = Run(
            market,
            self._config,
            self._section,
            settings,
            shared.candidates,
            history_bars=first,
        )
        begun = progress.begun(first, len(market))
        try:
            await run.through(begun.bars, begun.line)
        except HyperdriftError as e:
            return CellFailure.of(e)
        finally:
            begun.end()
        figures, track = await asyncio.to_thread(
            performance.measure, run.answers(), self._section.horizon, self._cost_bps
        )
        content = CellContent(run.record, figures, run.engine_s)
        path = Path()
        if run.record.is_whole:
            path = await asyncio.to_thread(shared.kept.keep, name, settings, content, track)
        return KeptCell(content, track, path)

    def _market(self) -> Market:
        until_ms, slot = self._span.until_ms, self._slot
        with open_store(self._config.data_dir, read_only=True) as store:
            frame = store.frame(slot, to_t=until_ms)
            names = comparison_slots(slot, [section.name for section in self._config.slots])
            others = [store.bars(other, to_t=until_ms) for other in names]
        if len(frame["t"]) <= self._base.min_bars:
            need = f"more than policy.min_bars = {self._base.min_bars} are needed: import some"
            raise BadInput(f"{slot} has {len(frame['t'])} bars stored; {need}")
        return Market.of(slot, frame, others)


def _result(name: str, cell: KeptCell | CellFailure) -> BacktestResult:
    if isinstance(cell, CellFailure):
        return BacktestResult(name, failure=cell)
    record = cell.content.record
    return BacktestResult(
        policy=name,
        counts=Counts.of(record),
        figures=cell.content.figures,
        training_s=record.training_s,
        engine_s=cell.content.engine_s,
        record=record,
        failure=failure_of(record),
        kept=str(cell.path) if cell.path.name else "",
    )
