"""Keep the model of one slot fresh: hand events to the engine and carry out its orders.

Everything that happens to a slot goes through one inbox, in order: the engine sees a
single sequence of events, and the journal holds the same sequence, so that a start
after any kind of end rebuilds the engine by reading it.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog

from daemon.config.schema import Config
from daemon.core.bars import Bar
from daemon.core.clock import VenueClock
from daemon.core.loop_progress import LoopProgress
from daemon.mqtt.messages import CommandReply, FeatureMismatch, SlotState
from daemon.registry import deployment_log
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.runtime import event_codec
from daemon.runtime.bot_liveness import BotLiveness
from daemon.runtime.command_log import append_answer
from daemon.runtime.deploy_hook import run_hook
from daemon.runtime.recovery import JOURNAL_DAYS, rebuilt
from daemon.runtime.retrain_tasks import RetrainTasks
from daemon.runtime.serving import Serving
from daemon.scoring.bot_feature_check import KEPT_BARS, BotFeatureCheck, Compared, Row
from daemon.scoring.scorer import Scorer
from daemon.store.async_store import AsyncStore
from daemon.store.store import Store
from daemon.training.training import Training
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor import actions, events
from monitor.bots import Mismatch, silence
from monitor.engine import Engine
from monitor.errors import MonitorError
from monitor.policy import PolicySettings
from monitor.state import EngineSnapshot
from retrain import features

log = structlog.get_logger()

# Full means that scoring is behind: the feed waits. A closed bar is never dropped.
INBOX: Final = 4096

# So long, wall time, a bot on a busy machine may be behind before it counts as silent.
_BUSY_S: Final = 2.0

Item = Bar | BotPresence | events.Event


class SlotRunner:
    """One slot: its engine, its live model and the one retrain that may be running.

    Args:
        slot: Whose model.
        make_engine: Builds the engine, given how many bars were stored before its first event.
        serving: The live model.
        training: Runs a retrain.
        store: Bars and journal.
        scorer: Asks the models about a bar.
        bus: Where state, events and replies go.
        topics: How they are addressed.
        venue: The venue's clock; events of our own carry its time.
        handshake: Knows which bots can load what `training` saves.
        on_deploy: Command to run when a version went live, for bots that must be restarted.
    """

    def __init__(
        self,
        slot: SlotName,
        *,
        make_engine: Callable[[int], Engine],
        serving: Serving,
        training: Training,
        store: AsyncStore,
        scorer: Scorer,
        bus: MqttConnection,
        topics: Topics,
        venue: VenueClock,
        handshake: BotCompatibility,
        on_deploy: tuple[str, ...] = (),
    ) -> None:
        self._handshake, self._on_deploy = handshake, on_deploy
        self._sentinel = BotFeatureCheck(str(slot), features.NAMES)
        self._vigil = BotLiveness(str(slot), _BUSY_S * 1000 * venue.speed)
        self.slot, self._make_engine = slot, make_engine
        self._serving, self._store = serving, store
        self._workshop = RetrainTasks(
            training,
            serving,
            put=self.put,
            put_nowait=self.put_nowait,
            show=self._publish_state,
            announce=partial(bus.publish, topics.event(slot)),
        )
        self._scorer = scorer
        self._bus, self._topics, self._venue = bus, topics, venue
        self._inbox: asyncio.Queue[Item] = asyncio.Queue(INBOX)
        self.pulse = LoopProgress(f"keeper-{slot}")
        self._engine = make_engine(0)
        self._tasks = asyncio.TaskGroup()
        self._mourned = ""  # what of the live model was lost, as told already
        self._last_bar_t: int | None = None
        self._lag_ms: int | None = None

    @property
    def phase(self) -> str:
        """What the slot is doing, in one word."""
        return self._engine.phase.value

    async def put(self, item: Item) -> None:
        """Hand over what happened; waits while the inbox is full."""
        await self._inbox.put(item)

    def adopt(self, config: Config, settings: PolicySettings) -> None:
        """Use another configuration from now on."""
        self._engine.settings = settings
        self._workshop.reconfigure(config)
        self._on_deploy = config.swap.on_deploy

    def put_nowait(self, item: Item) -> bool:
        """Hand over what happened; False if the inbox is full."""
        try:
            self._inbox.put_nowait(item)
        except asyncio.QueueFull:
            return False
        return True

    def predicted(self, t: int, theirs: Row | None) -> None:
        """Take note that a bot predicted a bar, and with which features if it says so."""
        now_ms = self._venue.now_ms()
        for spoke in self._vigil.predicted(now_ms):
            if spoke.silent_since_ms is not None:
                log.info("bot.speaks", slot=str(self.slot), bot_id=spoke.bot_id)
            self.put_nowait(spoke)
        for found in self._sentinel.predicted(t, theirs, now_ms) if theirs is not None else ():
            if self._matters(found):
                self.put_nowait(found)

    def _matters(self, found: Compared) -> bool:
        """Whether a comparison is news: that features agree is not, unless they did not."""
        agreed = isinstance(found, events.FeaturesAgreed)
        return not agreed or self._engine.snapshot().mismatch is not None

    async def run(self, recovered: Callable[[], None]) -> None:
        """Rebuild the engine from the journal, call `recovered`, then handle the inbox for ever."""
        async with self._tasks:
            await self._recover()
            recovered()
            try:
                while True:
                    self._publish_state()
                    item = await self._inbox.get()
                    with self.pulse.working():
                        await self._take(item)
            finally:
                await self._scorer.close()

    async def _take(self, item: Item) -> None:
        match item:
            case Bar():
                await self._score(item)
            case BotPresence():
                self._vigil.seen(item.bot_id, online=item.online)
                await self._mend()  # it may have found nothing that it could load
                fault = await self._handshake.fault(item)
                seen = events.BotSeen(
                    **self._serving.now(),
                    bot_id=item.bot_id,
                    online=item.online,
                    sklearn=item.sklearn,
                    fault=fault,
                )
                await self._handle(seen)
            case events.Ticked() | events.SwapAcked():
                await self._mend()
                await self._handle(item)
            case _:
                await self._handle(item)

    # -- start ---------------------------------------------------------------------------

    async def _recover(self) -> None:
        since = self._venue.now_ms() - JOURNAL_DAYS * DAY_MS
        past = await self._store.call(rebuilt, self.slot, since, self._make_engine)
        self._engine = past.engine
        was = self._engine.snapshot()
        self._vigil.recall(was.speaker, was.silent_ms)
        for bar in past.bars[-KEPT_BARS:]:
            self._last_bar_t = bar.t
            self._sentinel.scored(bar.t, bar.row, bar.at_ms)
        await self._reconcile(past.order)
        await self._catch_up()
        while not self._inbox.empty():  # which bots there are, before the first decision
            await self._take(self._inbox.get_nowait())
        await self._handle(events.Ticked(**self._serving.now()))

    async def _reconcile(self, unfinished: actions.Action | None) -> None:
        """Hold the rebuilt engine against the files, and finish what a crash cut short."""
        was = self._engine.snapshot()
        live = await self._resume(was)
        if was.job_id is not None:
            why = "the daemon was stopped meanwhile"
            job = events.RetrainFailed(**self._serving.now(), job_id=was.job_id, error=why)
            await self._handle(job)
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))
        elif (was.swap_to or was.challenge_id) and unfinished is not None:
            await self._act(unfinished)

    async def _resume(self, was: EngineSnapshot) -> Manifest | None:
        """Serve what the files say is live; tell everybody if it had to be put back."""
        on_probation = was.probation_ends_ms is not None
        shadow_id = was.previous_id if on_probation else None
        moved = await self._store.call(deployment_log.newest, self.slot)
        after_ms = int(moved["deployed_ms"]) if moved else 0
        live = await self._serving.resume(shadow_id, was.model_id, after_ms)
        await self._note_move()
        if (why := self._serving.lost) and why != self._mourned:
            outcome = f"{live.model_id} was put live again" if live else self._serving.remedy
            text = f"the live model was lost or damaged ({why}); {outcome}"
            await self._act(actions.Alert(**self._serving.now(), severity="critical", text=text))
        self._mourned = why
        return live

    async def _mend(self) -> None:
        """Put back what somebody lost or damaged while the daemon runs: a bot may start now."""
        if await self._serving.is_whole():
            return
        was = self._engine.snapshot()
        live = await self._resume(was)
        if live is not None and live.model_id != was.model_id:
            await self._handle(await self._serving.found(live, was.model_id))

    async def _catch_up(self) -> None:
        """Score the bars that closed while nobody was looking."""
        if self._last_bar_t is None:
            return
        after = self._last_bar_t + self.slot.interval_ms
        missed = await self._store.call(Store.bars, self.slot, from_t=after)
        names = ("t", "open", "high", "low", "close", "volume")
        for t, *values in zip(*(missed[name] for name in names), strict=True):
            open_, high, low, close, volume = map(float, values)
            await self._score(Bar(int(t), open_, high, low, close, volume))

    # -- events --------------------------------------------------------------------------

    async def _score(self, bar: Bar) -> None:
        if self._last_bar_t is not None and bar.t <= self._last_bar_t:
            return  # scored before the restart
        champion, shadow = self._serving.champion, self._serving.shadow
        if not self._engine.snapshot().probation_ends_ms:
            shadow = None
        score = await self._scorer.score(bar.t, champion, shadow)
        close_ms = bar.t + self.slot.interval_ms
        self._last_bar_t, self._lag_ms = bar.t, self._venue.now_ms() - close_ms
        scored = events.BarScored(
            slot=str(self.slot),
            at_ms=close_ms,
            t=bar.t,
            close=bar.close,
            row=score.row,
            model_id=champion.model_id if champion else None,
            p=score.p,
            shadow_id=shadow.model_id if shadow else None,
            shadow_p=score.shadow_p,
        )
        await self._handle(scored)
        for found in self._sentinel.scored(bar.t, score.row, close_ms):
            if self._matters(found):
                await self._handle(found)
        await self._listen_for_the_bot(close_ms, self._lag_ms)

    async def _listen_for_the_bot(self, close_ms: int, lag_ms: int) -> None:
        """Tell of a bot that lets bars pass: not those that come late, nor while we are deaf."""
        counts = self._bus.connected and lag_ms < self.slot.interval_ms
        for fell in self._vigil.closed(close_ms, counts=counts):
            log.warning("bot.silent", slot=str(self.slot), bot_id=fell.bot_id, why=silence(fell))
            await self._handle(fell)

    async def _handle(self, event: events.Event) -> None:
        """Decide, write down, then act: what a crash cuts short is made good at the next start."""
        try:
            orders = self._engine.handle(event)
        except MonitorError as e:
            log.error("event.refused", slot=str(self.slot), why=str(e))  # noqa: TRY400 - no trace
            return
        if orders or not isinstance(event, events.Ticked):
            await self._write(event.at_ms, *event_codec.body(event))
        for order in orders:
            await self._act(order)

    async def _write(self, at_ms: int, kind: str, fields: dict[str, Any]) -> None:
        await self._store.call(Store.append_journal, self.slot, at_ms, kind, fields)

    async def _note_move(self) -> None:
        if (pointer := self._serving.pointer) is not None:
            await self._store.call(deployment_log.note, self.slot, pointer, self._venue.now_ms())

    # -- orders --------------------------------------------------------------------------

    async def _act(self, order: actions.Action) -> None:
        match order:
            case actions.AskChallenger() | actions.StartRetrain():
                self._workshop.take(order, self._tasks)
            case actions.Deploy() | actions.Promote() | actions.Rollback():
                changed = await self._serving.change(order)
                await self._note_move()
                await self._handle(changed)
                if self._on_deploy and isinstance(changed, events.ModelServed):
                    self._tasks.create_task(run_hook(self._on_deploy), name="on-deploy")
            case actions.Alert():
                log.warning("alert", slot=str(self.slot), severity=order.severity, why=order.text)
                await self._tell("alert", order, {"severity": order.severity})
            case actions.Publish():
                log.info("slot.event", slot=str(self.slot), kind=order.kind, text=order.text)
                await self._tell(order.kind, order, dict(order.fields))
            case actions.Reply():
                reply = CommandReply(
                    request_id=order.request_id, accepted=order.accepted, detail=order.detail
                )
                self._bus.publish(self._topics.reply(self.slot), reply)
                await self._store.call(append_answer, self.slot, order.at_ms, reply)

    async def _tell(
        self, kind: str, order: actions.Alert | actions.Publish, fields: dict[str, Any]
    ) -> None:
        whole = {"text": order.text, **fields}
        await self._write(order.at_ms, kind, whole)
        message = {"kind": kind, "at_ms": order.at_ms, **whole}
        self._bus.publish(self._topics.event(self.slot), message)

    # -- what others see -----------------------------------------------------------------

    def state(self) -> SlotState:
        """Return what the slot is doing, for people."""
        now = self._engine.snapshot()
        return SlotState(
            phase=now.phase,
            model_id=now.model_id,
            model_age_s=now.model_age_s,
            win_rate=now.win_rate,
            trades=now.trades,
            drift={name: round(score, 4) for name, score in now.drift.items()},
            last_bar_t=self._last_bar_t,
            lag_ms=self._lag_ms,
            retrain=self._workshop.progress,
            pnl_7d=now.pnl_7d,
            waiting_for=now.waiting_for,
            trouble="" if self._serving.champion else self._serving.lost,
            probation=now.probation,
            mismatch=_mismatch(now.mismatch),
        )

    def _publish_state(self) -> None:
        self._bus.publish(self._topics.state(self.slot), self.state(), retain=True)


def _mismatch(found: Mismatch | None) -> FeatureMismatch | None:
    return FeatureMismatch(**dataclasses.asdict(found)) if found is not None else None
