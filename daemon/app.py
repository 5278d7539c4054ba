"""The daemon: one function holds every connection and every task.

If one task dies, all stop and the service manager starts the process again; a start is
a recovery, so nothing is lost but time. A broker that is away holds nothing up, and a
venue that is away only means that no bars come.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog

from daemon.config.file_access import check_files_named
from daemon.config.limits import child_limits, policy_settings
from daemon.config.loader import broker_address, broker_password
from daemon.config.reload import Reload
from daemon.config.schema import Config, MqttSection, SlotSection
from daemon.core.clock import VenueClock, watch_steps
from daemon.core.errors import AnotherDaemon, DataFolderBusy, VenueRefused, VenueUnreachable
from daemon.core.loop_progress import LoopProgress
from daemon.core.tasks import running
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CALM_S, CandleStream
from daemon.market_data.feed import Feed
from daemon.market_data.order_flow import CohortFlow, read_cohorts
from daemon.mqtt.embedded_broker import EmbeddedBroker
from daemon.mqtt.messages import DaemonStatus, encode
from daemon.registry.bot_compatibility import BotCompatibility
from daemon.registry.keys import command_keys, own_signer, trusted_keys
from daemon.registry.registry import Registry
from daemon.runtime.command_log import CommandLog
from daemon.runtime.message_router import MessageRouter
from daemon.runtime.serving import Serving
from daemon.runtime.slot_runner import SlotRunner
from daemon.runtime.swap import SwapCoordinator
from daemon.runtime.trade_file import TradeFile
from daemon.runtime.trades import TradeBook, TradeFollower
from daemon.scoring.feature_computers import Computer
from daemon.scoring.feature_computers import make as make_computer
from daemon.scoring.scorer import Scorer
from daemon.service.retention import Retention
from daemon.service.status_publisher import StatusPublisher
from daemon.service.systemd_notify import SystemdNotifier
from daemon.service.watchdog import Watchdog, summary
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import STORE_NAME
from daemon.store.folder_lock import folder_lock
from daemon.store.retrying_store import RetryingStore, SingleAttemptStore, until_available
from daemon.store.store import Store
from daemon.training.jobs import Jobs
from daemon.training.training import Training
from hyperdrift.clock import Clock
from hyperdrift.errors import ConfigError, HyperdriftError
from hyperdrift.loading import freeze_gc
from hyperdrift.mqtt.connection import MqttConnection, Will
from hyperdrift.mqtt.messages import SwapAck
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from monitor.engine import Engine
from monitor.events import Ticked, TradeClosed
from monitor.policy import PolicySettings
from retrain import features

log = structlog.get_logger()

_RETRY_S: Final = 5.0
_TICK_S: Final = 60.0
_CLOCK_S, _DOUBTED_CLOCK_S, _VAGUE_CLOCK_S = 60.0, 25.0, 5.0
_GOODBYE_S: Final = 2.0
_LIVE_CHECK_S: Final = 0.1


async def run(config: Config, clock: Clock, read: Callable[[], Config] | None = None) -> None:
    """Run until cancelled.

    Args:
        config: What to run.
        clock: Real time.
        read: Reads the configuration again, on SIGHUP; None leaves the signal alone.

    Raises:
        ConfigError: A setting, a coin or a port that cannot be used.
        AnotherDaemon: Another process has the data folder.
    """
    await asyncio.to_thread(check_files_named, config)
    slots = tuple(section.name for section in config.slots)
    cohort_file = config.features.cohort_file
    cohorts = read_cohorts(cohort_file) if cohort_file else None
    async with contextlib.AsyncExitStack() as stack:
        reload = Reload(config, read) if read else None
        if reload:
            stack.enter_context(reload.listening())
        heart = Watchdog(SystemdNotifier(), clock)
        await stack.enter_async_context(heart.beating())
        heart.doing(lambda: "starting: opening the store")
        try:
            await until_available(lambda: stack.enter_context(folder_lock(config.data_dir)), clock)
        except DataFolderBusy as e:
            raise AnotherDaemon(str(e)) from e
        store = ThreadedStore(await until_available(lambda: _open_store(config.data_dir), clock))
        stack.callback(store.close)
        venue = VenueClock(clock, config.hyperliquid.speed)
        rest_url, stream_url = config.hyperliquid.urls
        budget = config.hyperliquid.weight_per_minute
        rest = await stack.enter_async_context(RestClient(rest_url, clock, venue, budget))
        online = _online(slots, clock)
        bus = await stack.enter_async_context(_connection(config.mqtt, online, clock))
        heart.doing(lambda: "starting: waiting for the venue")
        await _greet_venue(rest, slots, clock)
        topics = Topics(config.mqtt.prefix)
        presence = StatusPublisher(online, bus, topics, venue, lambda: heart.start)
        patient = RetryingStore(store, clock, presence.alert)
        flow = CohortFlow(cohorts, slots, patient, venue) if cohorts else None
        stream = CandleStream(
            stream_url, clock, slots, flow.coins if flow else (), calm_s=CALM_S / venue.speed
        )
        on_trade = flow.take if flow else None
        tried = SingleAttemptStore(patient)  # the feed has delays of its own
        feed = Feed(rest, stream, tried, venue, slots, on_trade=on_trade, alarm=presence.alarm)
        audit = CommandLog(patient, clock, venue)
        book = TradeBook(venue)
        parts = _Parts(config, clock, venue, patient, bus, topics, audit, book, heart, reload)
        await _work(parts, rest, feed, flow, presence)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What everything is made of."""

    config: Config
    clock: Clock
    venue: VenueClock
    store: RetryingStore
    bus: MqttConnection
    topics: Topics
    audit: CommandLog
    book: TradeBook
    heart: Watchdog
    reload: Reload | None = None


async def _work(
    parts: _Parts, rest: RestClient, feed: Feed, flow: CohortFlow | None, presence: StatusPublisher
) -> None:
    """Own every task that runs for as long as the daemon does."""
    config, venue = parts.config, parts.venue
    keepers, swap, intake = _desks(parts)
    since = {s.name: venue.now_ms() - s.history_ms for s in config.slots}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(presence.run(feed, parts.clock), name="presence")
        tasks.create_task(watch_steps(parts.clock), name="clock-steps")
        parts.heart.doing(lambda: "starting: fetching the bars that are missing")
        await feed.backfill(since)
        if flow:
            await flow.begin()
        recovered = [asyncio.Event() for _ in keepers]
        for keeper, event in zip(keepers.values(), recovered, strict=True):
            tasks.create_task(keeper.run(event.set), name=f"keeper-{keeper.slot}")
        parts.heart.doing(lambda: "starting: scoring what was missed")
        for event in recovered:
            await event.wait()
        await intake.recall(parts.store)
        intake.listen()
        if config.trades.file:
            tasks.create_task(_follow_trades(parts, keepers), name="trades")
        if parts.reload:
            tasks.create_task(parts.reload.run(keepers.values()), name="reload")
        tasks.create_task(parts.audit.run(), name="audit")
        tasks.create_task(swap.run(), name="swap")
        tasks.create_task(feed.run(), name="feed")
        delivery = LoopProgress("deliver")
        tasks.create_task(_deliver(feed, keepers, flow, delivery), name="deliver")
        tasks.create_task(_tick(keepers, parts.clock, venue), name="tick")
        tasks.create_task(_keep_time(rest, venue, parts.clock), name="clock")
        tasks.create_task(_housekeeping(parts, keepers).run(), name="housekeeping")
        await _announce(parts, feed, presence, keepers, delivery)


def _desks(parts: _Parts) -> tuple[dict[SlotName, SlotRunner], SwapCoordinator, MessageRouter]:
    """Build a keeper for each slot, and what listens for them."""
    config = parts.config
    signer = own_signer(config.data_dir)
    registry = Registry(config.data_dir / "models", signer, ring=trusted_keys(config.data_dir))
    jobs = Jobs(config.data_dir / "jobs", child_limits(config.retrain))
    jobs.clear()
    keepers: dict[SlotName, SlotRunner] = {}
    intake = MessageRouter(
        keepers,
        parts.bus,
        parts.topics,
        clock=parts.clock,
        venue=parts.venue,
        audit=parts.audit,
        book=parts.book,
        command_keys=command_keys(config),
    )

    def on_ack(slot: SlotName, ack: SwapAck) -> None:
        intake.acknowledged(slot, ack, swap.last_ack_ms[slot])

    swap = SwapCoordinator(
        parts.bus,
        parts.topics,
        parts.clock,
        on_ack=on_ack,
        on_silence=intake.alert,
        on_bot=intake.bot_seen,
        signer=signer,
    )
    for section in config.slots:
        swap.watch(section.name)
        keepers[section.name] = _keeper(parts, section, registry, jobs, swap)
    return keepers, swap, intake


def _keeper(
    parts: _Parts, section: SlotSection, registry: Registry, jobs: Jobs, swap: SwapCoordinator
) -> SlotRunner:
    slot, settings = section.name, policy_settings(parts.config.policy, section.name)
    return SlotRunner(
        slot,
        make_engine=partial(_engine, slot, settings),
        serving=Serving(slot, registry, swap, clock=parts.clock, venue=parts.venue),
        training=Training(
            slot=slot,
            section=section,
            config=parts.config,
            store=parts.store.inner,  # a retrain that cannot read fails, and is tried again
            registry=registry,
            jobs=jobs,
            false_alarms_per_month=settings.false_alarms_per_month,
        ),
        store=parts.store,
        scorer=Scorer(slot, _computer(parts, slot, jobs)),
        bus=parts.bus,
        topics=parts.topics,
        venue=parts.venue,
        handshake=BotCompatibility(parts.config.retrain.python),
        on_deploy=parts.config.swap.on_deploy,
    )


def _computer(parts: _Parts, slot: SlotName, jobs: Jobs) -> Computer:
    limits = child_limits(parts.config.retrain)
    return make_computer(parts.config.features, slot, parts.store, limits, jobs.environment)


def _engine(slot: SlotName, settings: PolicySettings, history_bars: int) -> Engine:
    return Engine(
        str(slot),
        settings,
        interval_ms=slot.interval_ms,
        names=features.NAMES,
        history_bars=history_bars,
    )


def _housekeeping(parts: _Parts, slots: Collection[SlotName]) -> Retention:
    folder = parts.config.data_dir
    return Retention(
        parts.store,
        folder / STORE_NAME,
        folder / "backtest",
        slots,
        clock=parts.clock,
        venue=parts.venue,
    )


async def _follow_trades(parts: _Parts, keepers: Mapping[SlotName, SlotRunner]) -> None:
    """Hand on the trades that the bot writes into its file."""

    async def put(slot: SlotName, closed: TradeClosed) -> None:
        await keepers[slot].put(closed)

    trades, slots = parts.config.trades, tuple(keepers)
    file = TradeFile(trades.path, trades.columns)
    await TradeFollower(file, slots=slots, book=parts.book, put=put, clock=parts.clock).run()


async def _deliver(
    feed: Feed, keepers: Mapping[SlotName, SlotRunner], flow: CohortFlow | None, pulse: LoopProgress
) -> None:
    async for slot, bar in feed.bars():
        with pulse.working():
            if flow:
                await flow.settle(slot, bar.t)
            await keepers[slot].put(bar)


async def _announce(
    parts: _Parts,
    feed: Feed,
    presence: StatusPublisher,
    keepers: Mapping[SlotName, SlotRunner],
    delivery: LoopProgress,
) -> None:
    """Say that we are ready as soon as the feed is live."""
    parts.heart.doing(lambda: "starting: waiting for the venue's stream")
    while not feed.venue_state().connected:
        await parts.clock.sleep(_LIVE_CHECK_S)
    freeze_gc()
    states = keepers.items()
    parts.heart.doing(
        lambda: (
            parts.store.trouble
            or summary(((str(slot), k.state()) for slot, k in states), parts.bus.trouble)
        )
    )
    pulses = [delivery, *(keeper.pulse for keeper in keepers.values())]
    parts.heart.ready(pulses, excused=lambda: bool(parts.store.trouble))
    presence.tell(feed)  # who asks because we are ready must not read that we wait
    log.info("daemon.ready", version=version("hyperdrift"), slots=[str(slot) for slot in keepers])


async def _tick(keepers: Mapping[SlotName, SlotRunner], clock: Clock, venue: VenueClock) -> None:
    """Let time pass for the engines also while no bar comes."""
    while True:
        await clock.sleep(_TICK_S)
        for slot, keeper in keepers.items():
            keeper.put_nowait(Ticked(slot=str(slot), at_ms=venue.now_ms()))


async def _keep_time(rest: RestClient, venue: VenueClock, clock: Clock) -> None:
    """Follow the venue's clock."""
    while True:
        known_s = _VAGUE_CLOCK_S if venue.is_vague else _CLOCK_S
        await clock.sleep(known_s if venue.is_trusted else _DOUBTED_CLOCK_S)
        with contextlib.suppress(HyperdriftError):  # the feed says so, once
            await rest.learn_clock()


async def _greet_venue(rest: RestClient, slots: tuple[SlotName, ...], clock: Clock) -> None:
    """Learn the venue's time and check the coins; wait for as long as the venue is away.

    Raises:
        ConfigError: A coin that it does not know: subscribing to one drops the whole socket.
    """
    lost = False
    while True:
        try:
            await rest.learn_clock()
            await rest.require_coins({slot.coin for slot in slots})
        except VenueRefused as e:
            raise ConfigError(f"[[slots]] {e}") from e
        except VenueUnreachable as e:
            if not lost:
                log.warning("venue.unreachable", why=str(e))
            lost = True
            await clock.sleep(_RETRY_S)
        else:
            return


def _online(slots: tuple[SlotName, ...], clock: Clock) -> DaemonStatus:
    return DaemonStatus(
        state="online",
        version=version("hyperdrift"),
        slots=tuple(map(str, slots)),
        since_ms=clock.now_ms(),
        doing="starting: waiting for the venue",
    )


@contextlib.asynccontextmanager
async def _connection(
    mqtt: MqttSection, online: DaemonStatus, clock: Clock
) -> AsyncIterator[MqttConnection]:
    """Hold the broker, if it is ours, and the connection to it; say goodbye at the end."""
    async with contextlib.AsyncExitStack() as stack:
        if mqtt.broker == "embedded":
            await stack.enter_async_context(EmbeddedBroker(clock, mqtt.port))
        topics = Topics(mqtt.prefix)
        will = Will(topics.status, DaemonStatus(state="offline"))
        address, password = broker_address(mqtt), broker_password(mqtt)
        bus = MqttConnection(address, clock, password=password, will=will, encode=encode)
        bus.publish(topics.status, online, retain=True)
        await stack.enter_async_context(running(bus.run(), "bus"))
        try:
            yield bus
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S if bus.connected else 0):
                    await bus.flush()


def _open_store(data_dir: Path) -> Store:
    return Store.open_or_rebuild(data_dir / STORE_NAME)
