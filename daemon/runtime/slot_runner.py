"""Keep the model of one slot fresh: hand events to the engine and carry out its actions.

Everything that happens to a slot goes through one inbox, in order. The engine and the journal get
the same sequence of events, so a start can rebuild one from the other, even after a crash.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import structlog

from daemon.config.schema import Config
from daemon.core.bars import Bar
from daemon.core.clock import VenueClock
from daemon.core.loop_progress import LoopProgress
from daemon.core.slot_troubles import TroubleChanged
from daemon.mqtt.messages import SlotState
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.runtime.announcements import Announcements
from daemon.runtime.bots.bot_watch import BotWatch
from daemon.runtime.checkpoints.engine_keeper import EngineKeeper
from daemon.runtime.commands import not_journalled
from daemon.runtime.deploy_hook import run_hook
from daemon.runtime.inbox import BotPrediction, HistoryFetched, Inbox, Item
from daemon.runtime.model_recovery import ModelRecovery
from daemon.runtime.recovery import JOURNAL_DAYS, Rebuilt, bars_after, bars_before, rebuilt
from daemon.runtime.retrain_tasks import RetrainTasks
from daemon.runtime.serving import Serving
from daemon.runtime.slot_publisher import SlotPublisher, slot_state
from daemon.scoring.scorer import Scorer
from daemon.store.async_store import AsyncStore
from daemon.store.database import StoreUnavailable
from daemon.training.training import Training
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor import actions, events
from monitor.engine import Engine
from monitor.errors import MonitorError
from monitor.policy import PolicySettings
from monitor.watch import SignalGain

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SlotStart:
    """The steps of one slot's start.

    Attributes:
        turns: Who holds one rebuilds its engine and loads its model.
        rebuilt: Set by the slot when its engine is rebuilt and its live model is loaded.
        goes_on: Set from outside when nobody waits for bars that were missed any longer.
        recovered: Set by the slot when those that are stored are scored.
    """

    goes_on: asyncio.Event
    turns: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    rebuilt: asyncio.Event = field(default_factory=asyncio.Event)
    recovered: asyncio.Event = field(default_factory=asyncio.Event)


class SlotRunner:
    """Runs one slot: its engine, its live model and at most one retrain.

    Args:
        slot: The slot.
        inbox: The slot's inbox.
        make_engine: Builds the engine, given how many bars were stored before its first event.
        serving: The live model.
        training: Runs a retrain.
        store: Bars and journal.
        tried: The same, for what must not wait for the disk; None waits.
        scorer: Scores a bar with the models.
        bus: Publishes state, events and replies.
        topics: Gives the names of the topics.
        venue: The venue's clock; the runner's own events have its time.
        compatibility: Knows which bots can load a model that `training` saves.
        on_deploy: Command to run after a version went live, for bots that must be restarted.
        lacks: Returns what the slot lacks, in words; empty if nothing.
        announcements: Tells the listeners in this process what is published.
    """

    _shown: SlotState | None = None

    def __init__(
        self,
        slot: SlotName,
        inbox: Inbox,
        *,
        make_engine: Callable[[int], Engine],
        serving: Serving,
        training: Training,
        store: AsyncStore,
        tried: AsyncStore | None = None,
        scorer: Scorer,
        bus: MqttConnection,
        topics: Topics,
        venue: VenueClock,
        compatibility: BotCompatibility,
        on_deploy: tuple[str, ...] = (),
        lacks: Callable[[], str] = lambda: "",
        announcements: Announcements | None = None,
    ) -> None:
        self.slot, self._inbox, self._make_engine = slot, inbox, make_engine
        self._serving, self._store, self._scorer = serving, store, scorer
        self._bus, self._venue, self._on_deploy, self._lacks = bus, venue, on_deploy, lacks
        told = SlotPublisher(slot, store, bus, topics, tried=tried, announcements=announcements)
        self._publisher, self._engine = told, make_engine(0)
        self._bot = BotWatch(str(slot), compatibility, self._mismatched, venue.speed)
        self._recovery = ModelRecovery(
            slot, serving, store, venue, handle=self._handle, act=self._act
        )
        self._retrains = RetrainTasks(
            training,
            serving,
            put=inbox.put,
            put_nowait=inbox.put_nowait,
            show=self._publish_state,
            announce=self._publisher.announce,
        )
        self._keeper, self._is_busy = EngineKeeper(slot, tried or store), True
        self.progress, self._tasks = LoopProgress(f"keeper-{slot}"), asyncio.TaskGroup()
        self._last_bar_t: int | None = None
        self._lag_ms: int | None = None

    @property
    def phase(self) -> str:
        """The phase of the slot."""
        return self._engine.phase.value

    def adopt(self, config: Config, settings: PolicySettings) -> None:
        """Use another configuration from now on."""
        self._engine.settings = settings
        self._retrains.reconfigure(config)
        self._serving.section = config.slot(self.slot)
        self._on_deploy = config.swap.on_deploy

    async def run(self, recovered: Callable[[], None], start: SlotStart | None = None) -> None:
        """Rebuild the engine and serve the live model, score what was missed, then the inbox.

        Args:
            recovered: Called when the bars that closed before the start are scored.
            start: When to go on from one to the next; None goes on at once.
        """
        async with self._tasks:
            await self._rebuild_and_serve(start)
            recovered()
            try:
                self._publish_state()
                while True:
                    self._is_busy = False
                    item = await self._inbox.get()
                    self._is_busy = True
                    with self.progress.working():
                        await self._take(item)
                    if not isinstance(item, BotPrediction):  # there may be thousands of them
                        self._publish_state()
            finally:
                await self._scorer.close()

    async def note_stop(self) -> None:
        """Keep the engine for the next start, or record that the stop ends a retrain."""
        now = self._engine.snapshot()
        if now.job_id is not None and now.job_begun:
            await self._recovery.note_stop(now.job_id)
        elif not self._is_busy:  # else the journal may lack what the engine has handled
            await self._keeper.keep(self._engine)

    async def _rebuild_and_serve(self, start: SlotStart | None) -> None:
        async with start.turns if start else nullcontext():
            past = await self._rebuild()
            self._engine = past.engine
            was = self._engine.snapshot()
            self._bot.recall(was, past.bars)
            self._last_bar_t = past.bars[-1].t if past.bars else None
            live = await self._recovery.resume(was)
        if start is not None:
            self._publish_state()
            start.rebuilt.set()
            await start.goes_on.wait()
            if await self._store.call(bars_before, self.slot, past.first_t) != past.before:
                self._engine = (await self._rebuild()).engine  # older bars came meanwhile
        await self._recovery.reconcile(self._engine.snapshot(), live, past.order)
        await self._score_missed()
        while not self._inbox.empty():  # bots' presences, before the first decision
            await self._take(await self._inbox.get())
        if start is None or self._venue.is_learnt:  # else the clock may be wrong
            await self._handle(events.Ticked(**self._serving.now()))
        await self._keeper.keep_if_due(self._engine)

    async def _score_missed(self) -> None:
        """Score the stored bars that closed while the daemon did not run."""
        if self._last_bar_t is not None:
            after = self._last_bar_t + self.slot.interval_ms
            for bar in await self._store.call(bars_after, self.slot, after):
                await self._score(bar)

    async def _rebuild(self) -> Rebuilt:
        since = self._venue.now_ms() - JOURNAL_DAYS * DAY_MS
        past = await self._store.call(rebuilt, self.slot, since, self._make_engine)
        past.engine.settings = self._engine.settings  # a reload may have changed them
        self._keeper.begin(past.first_t, past.before, past.replayed)
        return past

    async def _recount(self, item: HistoryFetched) -> None:
        """Let the engine know of bars from before its first, that were stored after the start."""
        was, self._engine = self._engine, (await self._rebuild()).engine
        await self._recovery.end_replayed(was.snapshot(), self._engine.snapshot())
        if item.scored is not None:
            await self._score_missed()
            item.scored.set()
        await self._handle(events.Ticked(**self._serving.now()))

    # -- events --------------------------------------------------------------------------

    async def _take(self, item: Item) -> None:
        match item:
            case Bar():
                await self._score(item)
            case BotPresence():  # at its start the bot may have found no usable model
                await self._recovery.mend(self._engine.snapshot())
                await self._handle(self._bot.seen(item, self._venue.now_ms()))
            case BotPrediction():
                await self._handle_all(self._bot.predicted(item))
            case TroubleChanged():
                await self._publisher.tell_trouble(item, self._venue.now_ms())
            case HistoryFetched():
                await self._recount(item)
            case events.CommandReceived():
                await self._obey(item)
            case events.Ticked() | events.SwapAcked():
                await self._recovery.mend(self._engine.snapshot())
                await self._handle(item)
                await self._keeper.keep_if_due(self._engine)
            case _:
                await self._handle(item)

    async def _obey(self, command: events.CommandReceived) -> None:
        """Journal a command, then carry it out; refuse it if the disk does not take it."""
        try:
            await self._publisher.journal_now(command)
        except StoreUnavailable as e:
            self._publisher.refuse(command.request_id, not_journalled(str(e)))
            return
        for order in self._engine.handle(command):
            await self._act(order)

    def _mismatched(self) -> bool:
        return self._engine.snapshot().mismatch is not None

    async def _score(self, bar: Bar) -> None:
        if self._last_bar_t is not None and bar.t <= self._last_bar_t:
            return  # scored before the restart
        champion, on_probation = self._serving.champion, self._engine.snapshot().probation_ends_ms
        shadow = self._serving.shadow if on_probation else None
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
        self._keeper.scored(bar.t)
        # A late bar, or one during a lost connection, does not count as a bot's silence.
        counts = self._bus.connected and self._lag_ms < self.slot.interval_ms
        await self._handle_all(self._bot.scored(scored, counts=counts))

    async def _handle_all(self, found: Iterable[events.Event]) -> None:
        for event in found:
            await self._handle(event)

    async def _handle(self, event: events.Event) -> None:
        """Let the engine decide, journal the event, then act; a start finishes the rest."""
        try:
            orders = self._engine.handle(event)
        except MonitorError as e:
            log.error("event.refused", slot=str(self.slot), why=str(e))  # noqa: TRY400 - no trace
            return
        if orders or not isinstance(event, events.Ticked):
            await self._publisher.journal(event)
        for order in orders:
            await self._act(order)
        if self._on_deploy and isinstance(event, events.ModelServed):
            self._tasks.create_task(run_hook(self._on_deploy), name="on-deploy")

    # -- actions -------------------------------------------------------------------------

    async def _act(self, order: actions.Action) -> None:
        match order:
            case actions.AskChallenger() | actions.StartRetrain():
                self._retrains.take(order, self._tasks)
            case actions.Deploy() | actions.Promote() | actions.Rollback():
                changed = await self._serving.change(order)
                await self._recovery.note_move()
                await self._handle(changed)
            case actions.Alert() | actions.Publish() | actions.Reply():
                await self._publisher.tell(order)
            case actions.HurryRetrain() | actions.WithdrawJob():
                self._retrains.take(order, self._tasks)

    # -- state ---------------------------------------------------------------------------

    @property
    def gains(self) -> Sequence[SignalGain]:
        """What the newest signals returned after costs, oldest first."""
        return self._engine.gains

    def state(self) -> SlotState:
        """Return the state of the slot, as it is published."""
        lost = "" if self._serving.champion else self._serving.lost
        model = f"its model cannot be used: {lost}" if lost else ""
        return slot_state(
            self._engine.snapshot(),
            last_bar_t=self._last_bar_t,
            lag_ms=self._lag_now_ms(),
            retrain=self._retrains.progress,
            challenge=self._retrains.question,
            trouble="; ".join(filter(None, (model, self._lacks()))),
            labels=self._serving.labels_told,
            bots=self._serving.bots,
        )

    def _lag_now_ms(self) -> int | None:
        """Return how late the newest bar was, or the next one is by now if that is more."""
        if self._last_bar_t is None:
            return None
        due_ms = self._last_bar_t + 2 * self.slot.interval_ms
        return max(self._lag_ms or 0, self._venue.now_ms() - due_ms)

    @property
    def shown(self) -> SlotState:
        """The state that was published last; the same object until another one is."""
        self._shown = self._shown or self.state()
        return self._shown

    def _publish_state(self) -> None:
        self._shown = self.state()
        self._publisher.show(self._shown)
