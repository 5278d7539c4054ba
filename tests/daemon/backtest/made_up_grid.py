"""A small made-up grid: stored bars of some coins, and runs that need no training."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.backtest import backends, slot_backtest
from daemon.backtest.performance import Answers
from daemon.backtest.policy_run import OnBars, PolicyRecord
from daemon.config.schema import Config, DaemonSection, SlotSection
from daemon.core.bars import Bar, Provenance
from daemon.store.data_folder import open_store
from hyperdrift.slot_name import SlotName
from monitor.actions import Publish

BARS, LEAST = 900, 500
FIRST_T = 1_700_000_100_000 // 3_600_000 * 3_600_000


def configured(folder: Path, *coins: str) -> Config:
    return Config(
        daemon=DaemonSection(data_dir=str(folder)),
        slots=tuple(SlotSection(coin=coin) for coin in coins),
        policy={"min_bars": LEAST},
    )


def fill(folder: Path, *slots: str, bars: int = BARS) -> None:
    """Store bars of slots; two calls for the same slot store the same ones."""
    with open_store(folder) as store:
        for slot in map(SlotName.parse, slots):
            random = np.random.default_rng(sum(slot.coin.encode()))
            close = 100 * np.exp(np.cumsum(random.normal(0, 3e-3, 2 * BARS)))[:bars]
            times = FIRST_T + slot.interval_ms * np.arange(bars)
            rows = zip(times.tolist(), close.tolist(), strict=True)
            made = [Bar(t, c, c * 1.001, c * 0.999, c, 1.0 + t % 7) for t, c in rows]
            store.put_bars(slot, made, Provenance.IMPORT)


class Runs:
    """Stands in for `Run`: one model for all bars, which knows a little, and no child process.

    Attributes:
        asked: The cells that were run.
        fails: By cell, what its run raises.
        refused: Cells of which the gates refuse every candidate.
        broken: Cells in which a child fails once.
        ends_after: So many cells are run; those after them wait for ever.
        places: So many candidates could be trained at once.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.fails = dict[str, Exception]()
        self.refused, self.broken = set[str](), set[str]()
        self.ends_after, self.places = 1_000_000, 2
        self.at_once = self.most_at_once = 0
        patch.setattr(slot_backtest, "Run", self.made)
        patch.setattr(backends, "opened", self.opened)

    @asynccontextmanager
    async def opened(self, *_: Any) -> AsyncIterator[Any]:
        yield backends.TrainingPlaces(object(), lambda: self.places, is_here=True)  # type: ignore[arg-type]

    def made(
        self, market: Any, _config: Any, section: Any, settings: Any, *_: Any, **of: Any
    ) -> Any:
        policy = {30: "monthly", 7: "weekly", 1: "daily"}.get(settings.schedule_days, "never")
        name = f"{section.name} {section.horizon} {policy}"
        return MadeUpRun(self, name, market, section.horizon, of["history_bars"])


class MadeUpRun:
    """One run of `Runs`."""

    engine_s = 0.5

    def __init__(self, runs: Runs, name: str, market: Any, horizon: int, first: int) -> None:
        self._runs, self._name, self._market = runs, name, market
        self._horizon, self._first = horizon, first
        self.record = PolicyRecord()

    async def through(self, on_bars: OnBars, _: Any) -> None:
        runs = self._runs
        runs.at_once += 1
        runs.most_at_once = max(runs.most_at_once, runs.at_once)
        try:
            await self._through(on_bars)
        finally:
            runs.at_once -= 1

    async def _through(self, on_bars: OnBars) -> None:
        runs = self._runs
        if len(runs.asked) >= runs.ends_after:
            await asyncio.Event().wait()
        runs.asked.append(self._name)
        await asyncio.sleep(0)
        if self._name in runs.fails:
            raise runs.fails[self._name]
        passed = self._name not in runs.refused
        trained = {"at_ms": 1, "trigger": "first", "reason": "", "passed": passed}
        self.record.trained.append({**trained, "refused_by": [] if passed else ["overfit"]})
        self.record.training_s = 2.0
        self.record.is_whole = self._name not in runs.broken
        for kind in ("drift", "swapped"):
            event = Publish(slot="s", at_ms=FIRST_T, kind=kind, text=f"{kind} in {self._name}")
            self.record.published.append(event)
        on_bars(len(self._market))

    def answers(self) -> Answers:
        frame, n = self._market.frame, len(self._market)
        random = np.random.default_rng(sum(self._name.encode()))
        lean = random.uniform(0.05, 0.4, (n, 2))
        p = np.column_stack([lean[:, 0], 1 - lean.sum(axis=1), lean[:, 1]])
        p[: self._first] = np.nan
        if self._name in self._runs.refused:
            p[:] = np.nan
        edge, limit = np.full(n, 0.39), np.full(n, 0.005)
        return Answers(frame["t"], frame["close"], p, edge, edge, limit)


def named(slots: Sequence[str], *policies: str) -> list[str]:
    return [f"{slot} {policy}" for slot in slots for policy in policies]
