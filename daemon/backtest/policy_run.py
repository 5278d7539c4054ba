"""Run one policy over the stored bars.

The engine and the retrains are those of the live daemon. A model is trained on the bars that
had closed by then and predicts from the next bar on, so nothing looks ahead. One assumption is
made: a retrain takes a minute of market time, so its verdict is known before the next close.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from daemon.backtest import performance
from daemon.backtest.candidate_cache import Candidates, Judged
from daemon.backtest.market_replay import Market, TrainedVersion
from daemon.config.schema import Config, SlotSection
from daemon.core.errors import RetrainFailedError, UnfitBars
from daemon.core.subprocesses import OnLine
from daemon.runtime.serving import Change, change_reason, model_served
from daemon.training.jobs import ChallengeOutcome
from daemon.training.training import challenger_judged, job_spec
from hyperdrift.loaded_model import LoadedModel
from hyperdrift.slot_name import MINUTE_MS
from monitor import actions, events
from monitor.engine import Engine
from monitor.policy import PolicySettings
from retrain import features

TRAINING_MS: Final = MINUTE_MS
"""Assumed length of a retrain in market time."""
_CHUNK: Final = 2016

OnBars = Callable[[int], None]


@dataclass(slots=True)
class PolicyRecord:
    """The events that the daemon would have published under one policy.

    `is_whole` is False if a child failed for a while, so that another run may have other events.
    """

    published: list[actions.Publish] = field(default_factory=list)
    trained: list[dict[str, Any]] = field(default_factory=list)
    training_s: float = 0.0
    is_whole: bool = True

    def at(self, kind: str) -> list[int]:
        """Return when events of a kind happened, ms UTC."""
        return [item.at_ms for item in self.published if item.kind == kind]


class Run:
    """Runs one policy over one market.

    Args:
        market: The bars.
        config: Gates and retrain settings, as the daemon would use them.
        section: The slot, with its labels.
        settings: The policy.
        candidates: Trains, or finds what was trained before.
        history_bars: Number of bars before the first that the engine is given.

    Attributes:
        record: The events.
        engine_s: Processor seconds of everything but candidates.
    """

    def __init__(
        self,
        market: Market,
        config: Config,
        section: SlotSection,
        settings: PolicySettings,
        candidates: Candidates,
        *,
        history_bars: int,
    ) -> None:
        self._market, self._config, self._candidates = market, config, candidates
        self._section = section
        self._start = history_bars
        self._engine = Engine(
            str(market.slot),
            settings,
            interval_ms=market.slot.interval_ms,
            names=features.NAMES,
            history_bars=history_bars,
        )
        self._passed: dict[str, Judged] = {}
        self._live: TrainedVersion | None = None
        self._shadow: TrainedVersion | None = None
        self._order: actions.StartRetrain | actions.AskChallenger | None = None
        self.record = PolicyRecord()
        n = len(market)
        self._p = np.full((n, 3), np.nan)
        self._up, self._down = np.full(n, np.inf), np.full(n, np.inf)
        self._limit = np.full(n, np.nan)
        self.engine_s = 0.0

    # What a retrain is compared with, as `daemon.training.training` asks for it.

    @property
    def champion(self) -> LoadedModel | None:
        """The live model, None before the first."""
        return self._live.model if self._live else None

    @property
    def champion_path(self) -> str | None:
        """Path of its manifest."""
        return str(self._live.judged.manifest) if self._live else None

    @property
    def _champion_id(self) -> str:
        return self._live.model.model_id if self._live else ""

    async def through(self, on_bars: OnBars, on_line: OnLine) -> None:
        """Give every bar to the engine and carry out its actions.

        Args:
            on_bars: Called with the number of bars done.
            on_line: Called with the lines of each child that trains.
        """
        await self._apart(self._handle, events.Ticked(**self._now(self._start - 1)))
        bar = self._start
        while bar < len(self._market) or self._order is not None:
            if self._order is not None:
                order, self._order = self._order, None
                if isinstance(order, actions.AskChallenger):
                    await self._challenge(order)
                else:
                    await self._retrain(order, on_line)
            else:
                bar = await self._apart(self._advance, bar)
                on_bars(bar)

    def answers(self) -> performance.Answers:
        """Return the predictions of the live models for each bar."""
        frame = self._market.frame
        said = self._p, self._up, self._down, self._limit
        return performance.Answers(frame["t"], frame["close"], *said)

    async def _apart(self, work: Callable[[Any], Any], given: Any) -> Any:
        """Do a piece of work in a thread, and count its processor time."""

        def timed() -> Any:
            began = time.thread_time()
            try:
                return work(given)
            finally:
                self.engine_s += time.thread_time() - began

        return await asyncio.to_thread(timed)

    def _now(self, bar: int) -> dict[str, Any]:
        return {"slot": str(self._market.slot), "at_ms": self._market.close_ms(bar)}

    def _advance(self, bar: int) -> int:
        """Score bars until the engine orders a retrain; return the next one."""
        stop = min(len(self._market), bar + _CHUNK)
        while bar < stop and self._order is None:
            self._score(bar)
            bar += 1
        return bar

    def _score(self, bar: int) -> None:
        live, shadow = self._live, self._shadow
        if shadow is not None and not self._engine.snapshot().probation_ends_ms:
            self._shadow = shadow = None
        p = live.p(bar) if live else None
        if live is not None and p is not None:
            self._p[bar], self._up[bar], self._down[bar] = p, live.model.up, live.model.down
            self._limit[bar] = live.limit[bar]
        self._handle(
            events.BarScored(
                **self._now(bar),
                t=int(self._market.frame["t"][bar]),
                close=float(self._market.frame["close"][bar]),
                row=tuple(self._market.rows[bar].tolist()),
                model_id=live.model.model_id if live else None,
                p=p,
                shadow_id=shadow.model.model_id if shadow else None,
                shadow_p=shadow.p(bar) if shadow else None,
            )
        )

    def _handle(self, event: events.Event) -> None:
        for order in self._engine.handle(event):
            match order:
                case actions.StartRetrain() | actions.AskChallenger():
                    self._order = order
                case actions.Deploy() | actions.Promote() | actions.Rollback():
                    self._handle(self._change(order))
                case actions.Publish():
                    self.record.published.append(order)

    def _change(self, order: Change) -> events.ModelServed:
        back = isinstance(order, actions.Rollback)
        target = order.to_model_id if isinstance(order, actions.Rollback) else order.model_id
        previous, live = self._live, self._shadow
        if live is None or live.model.model_id != target:
            live = TrainedVersion(self._passed[target], self._market)
        self._live, self._shadow = live, None if back else previous
        return model_served(
            live.model.manifest,
            live.judged.folder,
            previous_id=previous.model.model_id if previous else None,
            previous=previous.model.manifest if previous else None,
            reason=change_reason(order),
            rollback=back,
            slot=order.slot,
            at_ms=order.at_ms,
        )

    async def _challenge(self, order: actions.AskChallenger) -> None:
        spec = job_spec(self._config, self._section, order, self)
        since = order.at_ms - self._section.history_ms
        frame, champion_id = self._market.until(order.at_ms, since), self._champion_id
        try:
            answer = await self._candidates.challenged(spec, frame, champion_id)
        except RetrainFailedError as e:
            self.record.is_whole &= isinstance(e, UnfitBars)
            answer = ChallengeOutcome(None, f"the quick challenger failed: {e}")
        judged = challenger_judged(answer, order, order.at_ms)
        await self._apart(self._handle, judged)

    async def _retrain(self, order: actions.StartRetrain, on_line: OnLine) -> None:
        slot, job = order.slot, order.job_id
        done_ms = order.at_ms + TRAINING_MS
        spec = job_spec(self._config, self._section, order, self)
        since = order.at_ms - self._section.history_ms
        frame = self._market.until(order.at_ms, since)
        began = events.TurnCame(slot=slot, at_ms=order.at_ms, job_id=job)
        await self._apart(self._handle, began)
        try:
            judged = await self._candidates.judged(spec, frame, self._champion_id, on_line)
        except RetrainFailedError as e:
            self.record.is_whole &= isinstance(e, UnfitBars)
            failed = events.RetrainFailed(slot=slot, at_ms=done_ms, job_id=job, error=str(e))
            self.record.trained.append({**_begun(order), "passed": False, "error": str(e)})
            await self._apart(self._handle, failed)
            return
        self._note(order, judged)
        if judged.passed:
            self._passed[judged.model_id] = judged
        judging = events.JudgingBegan(slot=slot, at_ms=done_ms, job_id=job)
        await self._apart(self._handle, judging)
        finished = events.RetrainFinished(
            slot=slot,
            at_ms=done_ms,
            job_id=job,
            model_id=judged.model_id,
            passed=judged.passed,
            refused_by=judged.refused_by,
            detail=judged.detail,
        )
        await self._apart(self._handle, finished)

    def _note(self, order: actions.StartRetrain, judged: Judged) -> None:
        self.record.training_s += judged.seconds
        self.record.trained.append(
            {
                **_begun(order),
                "model_id": judged.model_id,
                "passed": judged.passed,
                "refused_by": list(judged.refused_by),
                "seconds": judged.seconds,
            }
        )


def _begun(order: actions.StartRetrain) -> dict[str, Any]:
    return {"at_ms": order.at_ms, "trigger": order.trigger, "reason": order.reason}
