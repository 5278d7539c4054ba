"""Build the daemon's parts bottom-up, so that each part is complete when it is built.

Inboxes come first, because other parts put items into them. Then come the message router, the
swap coordinator that calls it, and the slots, which order swaps and read the inboxes.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from daemon.config.limits import child_limits, policy_settings, shared_limits
from daemon.config.schema import Config, SlotSection
from daemon.core.bars import Alarm
from daemon.core.clock import VenueClock
from daemon.core.slot_troubles import SlotTroubles, TroubleChanged
from daemon.fleet.opening import make_jobs
from daemon.hyperliquid.frames import TradesOf
from daemon.hyperliquid.odd_frames import CALM_S
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.market_data.feed import Feed
from daemon.market_data.listed_coins import ListedCoins
from daemon.market_data.longer.aggregation import sources
from daemon.market_data.order_flow import CohortFlow, Cohorts
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.registry.keys import command_keys, own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.runtime.announcements import Announcements
from daemon.runtime.checkpoints.replays_ahead import ReplaysAhead
from daemon.runtime.command_log import CommandLog
from daemon.runtime.inbox import Inbox
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.recovery import new_engine
from daemon.runtime.serving import Serving
from daemon.runtime.slot_runner import SlotRunner
from daemon.runtime.swap import SwapCoordinator
from daemon.runtime.trade_follower import TradeFollower
from daemon.runtime.trades import TradeBook
from daemon.scoring.feature_computers import TURNS
from daemon.scoring.feature_computers import make as make_computer
from daemon.scoring.scorer import Scorer
from daemon.service.retention import Retention
from daemon.store.async_store import AsyncStore
from daemon.store.data_folder import STORE_NAME
from daemon.store.retrying_store import RetryingStore, SingleAttemptStore
from daemon.trade_files.trade_file import TradeFile
from daemon.training.jobs import Jobs
from daemon.training.retrain_queue import RetrainQueue
from daemon.training.training import Training
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.events import TradeClosed


@dataclass(frozen=True, slots=True)
class SharedParts:
    """The parts that all slots share.

    `reader` has a connection and a thread of its own: a bar that is to be scored does not wait for
    what others write. None reads by `store`.
    """

    config: Config
    clock: Clock
    venue: VenueClock
    store: RetryingStore
    bus: MqttConnection
    topics: Topics
    audit: CommandLog
    book: TradeBook
    troubles: SlotTroubles = field(default_factory=SlotTroubles)
    announcements: Announcements = field(default_factory=Announcements)
    reader: AsyncStore | None = None
    queue: RetrainQueue = field(default_factory=RetrainQueue)
    turns: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, TURNS))


@dataclass(frozen=True, slots=True)
class SlotParts:
    """The slots, and the parts that exchange messages with bots and operators.

    `build` makes the runner of one more slot, and `keepers` are the tasks of those that run. `held`
    are slots that ran before, and may run again once the coins of a star are chosen.
    """

    inboxes: dict[SlotName, Inbox]
    router: MessageRouter
    swap: SwapCoordinator
    compatibility: BotCompatibility
    runners: dict[SlotName, SlotRunner]
    build: Callable[[SharedParts, SlotSection, Inbox], SlotRunner]
    jobs: Jobs
    keepers: dict[SlotName, asyncio.Task[None]] = field(default_factory=dict)
    held: list[SlotName] = field(default_factory=list)


def build_feed(
    shared: SharedParts,
    rest: RestClient,
    listed: ListedCoins,
    cohorts: Cohorts | None,
    alarm: Alarm,
) -> tuple[Feed, CohortFlow | None]:
    """Build the feed, and the order flow of cohorts if there are any.

    Args:
        shared: The parts that all slots share.
        rest: The venue's REST client.
        listed: Knows which coins the venue lists; it was asked once.
        cohorts: The addresses to follow, None if there are none or they are learnt.
        alarm: Called for bars that are lost or soon will be.
    """
    clock, venue, store = shared.clock, shared.venue, shared.store
    slots = tuple(section.name for section in shared.config.slots)
    keep_ms = shared.config.keep_takers_ms
    learns = shared.config.features.learn_cohorts
    flow = CohortFlow(cohorts, slots, store, venue, keep_ms) if cohorts or learns else None
    url = shared.config.hyperliquid.urls[1]
    coins = flow.coins if flow else ()
    pushed = [slot for slot, source in sources(slots).items() if source is None]
    stream = CandleStream(url, clock, pushed, coins, calm_s=CALM_S / venue.speed)
    unlisted = [slot for slot in slots if not listed.is_listed(slot)]
    stream.unwant([*unlisted, *(TradesOf(slot.coin) for slot in unlisted)])
    tried = SingleAttemptStore(store)  # the feed waits and tries again itself
    on_trade = flow.take if flow else None
    feed = Feed(
        rest,
        stream,
        tried,
        venue,
        slots,
        on_trade=on_trade,
        alarm=alarm,
        listed=listed,
        troubles=shared.troubles,
        turns=shared.turns,
    )
    return feed, flow


def _jobs(shared: SharedParts) -> Jobs:
    """Build what runs jobs; the queue follows how many at once."""
    jobs = make_jobs(shared.config, shared.config.data_dir / "jobs", shared.clock)
    jobs.clear()
    shared.queue.follow(lambda: jobs.remote_places)
    jobs.listen(shared.queue.look)
    return jobs


def build_slots(shared: SharedParts) -> SlotParts:
    """Build every slot of the configuration; no task runs yet."""
    config = shared.config
    signer, models = own_signer(config.data_dir), config.data_dir / "models"
    models.mkdir(exist_ok=True)  # a confined process reads no folder that is made after its start
    registry = Registry(models, signer, ring=trusted_keys(config.data_dir))
    jobs = _jobs(shared)
    inboxes = {section.name: Inbox() for section in config.slots}
    router = MessageRouter(
        inboxes,
        shared.bus,
        shared.topics,
        clock=shared.clock,
        venue=shared.venue,
        audit=shared.audit,
        book=shared.book,
        command_keys=command_keys(config),
        blocked=lambda: shared.store.blocked,
        announcements=shared.announcements,
    )
    swap = SwapCoordinator(
        shared.bus,
        shared.topics,
        shared.clock,
        on_ack=router.acknowledged,
        on_silence=router.alert,
        on_bot=router.bot_seen,
        signer=signer,
    )
    for slot in inboxes:
        swap.watch(slot)
    compatibility = BotCompatibility(config.retrain.python)
    build = partial(_runner, registry=registry, jobs=jobs, swap=swap, compatibility=compatibility)
    runners = {each.name: build(shared, each, inboxes[each.name]) for each in config.slots}

    def tell(slot: SlotName, change: TroubleChanged) -> None:
        if inbox := inboxes.get(slot):  # else the slot was removed
            inbox.put_nowait(change)

    shared.troubles.listen(tell)
    return SlotParts(inboxes, router, swap, compatibility, runners, build, jobs)


def _runner(
    shared: SharedParts,
    section: SlotSection,
    inbox: Inbox,
    *,
    registry: Registry,
    jobs: Jobs,
    swap: SwapCoordinator,
    compatibility: BotCompatibility,
) -> SlotRunner:
    slot, config = section.name, shared.config
    settings, limits = policy_settings(config.policy, slot), child_limits(config.retrain)
    computer = make_computer(
        config.features,
        slot,
        shared.reader or shared.store,
        limits,
        jobs.surroundings,
        turns=shared.turns,
    )
    return SlotRunner(
        slot,
        inbox,
        make_engine=partial(new_engine, slot, settings),
        serving=Serving(
            slot, registry, swap, clock=shared.clock, venue=shared.venue, section=section
        ),
        training=_training(shared, section, registry, jobs),
        store=shared.store,
        tried=SingleAttemptStore(shared.store),
        scorer=Scorer(slot, computer),
        bus=shared.bus,
        topics=shared.topics,
        venue=shared.venue,
        compatibility=compatibility,
        on_deploy=config.swap.on_deploy,
        lacks=partial(shared.troubles.of, slot),
        announcements=shared.announcements,
    )


def _training(
    shared: SharedParts, section: SlotSection, registry: Registry, jobs: Jobs
) -> Training:
    settings = policy_settings(shared.config.policy, section.name)
    retrain = shared.config.retrain
    return Training(
        slot=section.name,
        section=section,
        config=shared.config,
        store=shared.store.inner,  # a failed retrain is tried again anyway
        registry=registry,
        jobs=jobs.limited(shared_limits(retrain), retrain.parallel),
        false_alarms_per_month=settings.false_alarms_per_month,
        queue=shared.queue,
    )


def replays_ahead(shared: SharedParts) -> ReplaysAhead:
    """Build the part that replays the journals of a fleet before its slots are rebuilt."""
    config = shared.config
    settings = {one.name: policy_settings(config.policy, one.name) for one in config.slots}
    now_ms = shared.venue.now_ms()
    return ReplaysAhead(config.data_dir / STORE_NAME, shared.store, settings, now_ms)


def retention(shared: SharedParts, slots: Collection[SlotName]) -> Retention:
    """Build the part that removes old entries and files."""
    folder = shared.config.data_dir
    return Retention(
        shared.store,
        folder / STORE_NAME,
        folder / "backtest",
        slots,
        clock=shared.clock,
        venue=shared.venue,
    )


def trade_follower(shared: SharedParts, inboxes: Mapping[SlotName, Inbox]) -> TradeFollower:
    """Build the part that reads trades from a bot's file."""

    async def put(slot: SlotName, closed: TradeClosed) -> None:
        if inbox := inboxes.get(slot):  # else the slot was removed
            await inbox.put(closed)

    trades, slots = shared.config.trades, tuple(inboxes)
    book, now_ms = shared.book, shared.venue.now_ms
    file = TradeFile(trades.path, trades.columns, now_ms=now_ms, counts=book.in_file)
    return TradeFollower(
        file, slots=slots, book=book, put=put, clock=shared.clock, store=shared.store
    )
