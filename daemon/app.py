"""The daemon: one function owns every connection and every task.

If one task fails, all stop and the service manager restarts the process. Every start recovers
the state, so nothing is lost but time. The daemon runs on without the broker; without the
venue it only gets no bars, also at a start: the slots serve the models that they have.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection, Iterable
from functools import partial
from importlib.metadata import version
from typing import Final, NamedTuple

import structlog

from daemon.config.file_access import check_files_named
from daemon.config.limits import fetched_ms
from daemon.config.reload import Reload, log_doubts
from daemon.config.schema import Config
from daemon.core.clock import VenueClock, watch_steps
from daemon.core.loop_progress import LoopProgress
from daemon.core.slot_troubles import SlotTroubles
from daemon.core.tasks import running, single_failure
from daemon.hyperliquid.listings import Listings
from daemon.hyperliquid.rest import RestClient
from daemon.market_data.feed import Feed
from daemon.market_data.listed_coins import ListedCoins
from daemon.market_data.order_flow import CohortFlow, Cohorts, read_cohorts
from daemon.market_data.silence import SilenceWatch
from daemon.mqtt.broker_refusals import BrokerRefusals
from daemon.mqtt.messages import DaemonStatus
from daemon.people_parts import build_people_parts
from daemon.runtime.alert_log import AlertLog
from daemon.runtime.announcements import Announcements
from daemon.runtime.command_log import CommandLog
from daemon.runtime.inbox_sources import deliver_bars, deliver_histories, deliver_time
from daemon.runtime.slot_starts import SlotStarts
from daemon.runtime.trades import TradeBook
from daemon.service.broker_connection import broker_connection
from daemon.service.coin_choice import CoinChoice
from daemon.service.folder_wait import take_folder
from daemon.service.home_assistant_devices import announce_devices
from daemon.service.market_drift import MarketDrift
from daemon.service.other_daemons import OtherDaemons, identity
from daemon.service.removed_slots import clear_removed_slots, known_slots
from daemon.service.status_publisher import StatusPublisher
from daemon.service.systemd_notify import SystemdNotifier
from daemon.service.venue_greeting import GREETING, greet, require_coins
from daemon.service.watchdog import Watchdog, summary
from daemon.slot_changes import SlotChanges
from daemon.store.async_store import check_beside
from daemon.store.data_folder import STORE_NAME, connections
from daemon.store.properties import record_venue, require_venue
from daemon.store.retrying_store import RetryingStore
from daemon.store.store import Store
from daemon.wiring import SharedParts, SlotParts, build_feed, build_slots, replays_ahead, retention
from hyperdrift.clock import Clock
from hyperdrift.errors import HyperdriftError
from hyperdrift.forms.onnx_library import onnxruntime
from hyperdrift.mqtt.topics import Topics
from hyperdrift.process.loading import freeze_gc
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()
onnxruntime()  # in a thread, later, its import would hold the event loop for 0.3 s

_CLOCK_S, _DOUBTED_CLOCK_S, _VAGUE_CLOCK_S = 60.0, 25.0, 5.0
_GOODBYE_S: Final = 2.0
_LIVE_CHECK_S: Final = 0.1
# So long the slots wait for the venue and the bars that were missed, before they serve without.
_PATIENCE_S: Final = 10.0


async def run(config: Config, clock: Clock, read: Callable[[], Config] | None = None) -> None:
    """Run until cancelled.

    Args:
        config: What to run.
        clock: Real time.
        read: Reads the configuration again on SIGHUP; None does not handle the signal.

    Raises:
        ConfigError: If a setting, a coin or a port cannot be used.
        AnotherDaemon: If another process holds the data folder.
    """
    await asyncio.to_thread(check_files_named, config)
    slots = tuple(section.name for section in config.slots)
    cohort_file = config.features.cohort_file
    cohorts = read_cohorts(cohort_file) if cohort_file else None
    async with contextlib.AsyncExitStack() as stack:
        reload = Reload(config, read) if read else None
        if reload:
            stack.enter_context(reload.listening())
        watchdog = Watchdog(SystemdNotifier(), clock)
        await stack.enter_async_context(watchdog.beating())
        watchdog.doing(lambda: "starting: opening the store")
        await take_folder(stack, config.data_dir, clock, watchdog)
        threaded, reader = await connections(stack, config.data_dir, clock, watchdog.waits)
        await threaded.call(require_venue, config.hyperliquid.venue, config.data_dir, any_port=True)
        closed_ms = await threaded.call(_newest_close, slots)
        venue = VenueClock(clock, config.hyperliquid.speed, closed_ms)
        rest_url, budget = config.hyperliquid.urls[0], config.hyperliquid.weight_per_minute
        rest = await stack.enter_async_context(RestClient(rest_url, clock, venue, budget))
        online = _online(slots, clock)
        refusals = BrokerRefusals(config.data_dir)
        bus = await stack.enter_async_context(broker_connection(config, online, clock, refusals))
        topics, book = Topics(config.mqtt.prefix), TradeBook(venue)
        announcements = Announcements()
        alerts = AlertLog(announcements)
        status = StatusPublisher(online, bus, topics, venue, announcements)
        status.start, status.trades = lambda: watchdog.start, book.state
        refusals.alert_by(status.alert)
        troubles = SlotTroubles()
        listed = ListedCoins(Listings(rest), slots, clock, venue, troubles)
        store = RetryingStore(threaded, clock, *status.about("disk"))
        status.disk = lambda: store.trouble
        audit = CommandLog(store, clock, venue)
        shared = SharedParts(
            config, clock, venue, store, bus, topics, audit, book, troubles, announcements, reader
        )
        host = HostSide(status, watchdog, reload, alerts)
        await _work(shared, VenueSide(rest, listed, cohorts), host)


def _newest_close(store: Store, slots: Collection[SlotName]) -> int | None:
    """Return when the newest stored bar of the slots closed, ms UTC; None without bars."""
    newest = ((slot, store.newest_t(slot)) for slot in slots)
    return max((t + slot.interval_ms for slot, t in newest if t is not None), default=None)


class VenueSide(NamedTuple):
    """What speaks with the venue, and the cohorts whose trades are followed."""

    rest: RestClient
    listed: ListedCoins
    cohorts: Cohorts | None


class HostSide(NamedTuple):
    """What tells people and the service manager what the daemon does, and hears from them."""

    status: StatusPublisher
    watchdog: Watchdog
    reload: Reload | None
    alerts: AlertLog

    def say(self, doing: str) -> None:
        """Tell both how far the start is, before there is a feed."""
        self.watchdog.doing(lambda: doing)
        self.status.tell_start()


async def _work(shared: SharedParts, ours: VenueSide, host: HostSide) -> None:
    """Run every task that lives as long as the daemon."""
    log_doubts(shared.config)
    shared.queue.adopt(shared.config)
    parts = build_slots(shared)
    people = build_people_parts(shared, parts, host.status, lambda: host.watchdog.start)
    await asyncio.to_thread(people.notifier.prepare, shared.config)
    if host.reload:
        host.reload.tell(people.notifier)
        host.reload.tell(shared.queue)
    try:
        with single_failure():
            async with asyncio.TaskGroup() as tasks:
                people.start(tasks, shared.config)
                tasks.create_task(parts.jobs.serve(), name="jobs")
                host.watchdog.doing(lambda: "starting: asking the interpreter that trains")
                await parts.compatibility.learn()
                starts = await _serve(shared, parts, tasks, host)
                feed, flow = await _meet_venue(shared, ours, host, starts)
                tasks.create_task(_check_store(shared), name="store-check")
                await _follow(
                    shared, parts, tasks, feed=feed, flow=flow, ours=ours, host=host, starts=starts
                )
    except asyncio.CancelledError:  # told to stop; what fails comes as another error
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                for runner in tuple(parts.runners.values()):
                    await runner.note_stop()
        raise


async def _serve(
    shared: SharedParts, parts: SlotParts, tasks: asyncio.TaskGroup, host: HostSide
) -> SlotStarts:
    """Rebuild every slot and serve its model; start the tasks that need no venue."""
    host.say("starting: rebuilding from the journal")
    async with replays_ahead(shared) as ahead:
        starts = SlotStarts(parts.runners)
        for slot, runner in parts.runners.items():
            run = partial(runner.run, starts.of[slot].recovered.set, starts.of[slot])
            keeper = ahead.replay(slot, then=run)
            parts.keepers[slot] = tasks.create_task(keeper, name=f"keeper-{slot}")
        await starts.rebuilt()
    await parts.router.recall(shared.store)
    parts.router.listen()
    others = OtherDaemons(host.status.online, shared.bus, shared.topics, shared.clock)
    host.status.trouble = others.trouble
    tasks.create_task(host.status.run_start(shared.clock), name="start-status")
    config, bus, known = shared.config, shared.bus, await known_slots(shared.store)
    parts.held[:] = await clear_removed_slots(known, bus, shared.topics, parts.inboxes, config)
    devices = announce_devices(config, shared.store, bus, version("hyperdrift"), parts.held)
    tasks.create_task(devices, name="home-assistant")
    tasks.create_task(watch_steps(shared.clock), name="clock-steps")
    tasks.create_task(shared.audit.run(), name="audit")
    tasks.create_task(host.alerts.run(shared.store), name="alert-log")
    market = MarketDrift(shared.announcements, shared.bus, shared.topics, shared.venue.now_ms)
    tasks.create_task(market.run(shared.clock), name="market-drift")
    tasks.create_task(parts.swap.run(), name="swap")
    follow = parts.compatibility.follow(parts.swap.tell_again)
    tasks.create_task(follow, name="bot-compatibility")
    if host.reload:
        tasks.create_task(host.reload.run(parts.runners), name="reload")
    return starts


async def _meet_venue(
    shared: SharedParts, ours: VenueSide, host: HostSide, starts: SlotStarts
) -> tuple[Feed, CohortFlow | None]:
    """Wait for the venue; while it is away the slots serve what they have."""
    config, clock, store = shared.config, shared.clock, shared.store
    patience_s = _PATIENCE_S if shared.venue.is_known else math.inf
    async with running(starts.go_on_after(patience_s, clock), "patience"):
        await greet(ours.rest, ours.listed, clock, shared.venue, host.say)
    await starts.settled()
    await require_coins(ours.listed, store, [section.name for section in config.slots])
    followed = config.hyperliquid.venue
    await store.call(require_venue, followed, config.data_dir)
    await store.call(record_venue, followed)  # it answered: no slip of the pen
    return build_feed(shared, ours.rest, ours.listed, ours.cohorts, host.status.alarm)


async def _follow(
    shared: SharedParts,
    parts: SlotParts,
    tasks: asyncio.TaskGroup,
    *,
    feed: Feed,
    flow: CohortFlow | None,
    ours: VenueSide,
    host: HostSide,
    starts: SlotStarts,
) -> None:
    """Fetch and score what was missed, then follow the venue."""
    venue, watchdog, config = shared.venue, host.watchdog, shared.config
    tasks.create_task(host.status.run(feed, shared.clock), name="presence")
    watchdog.doing(lambda: "starting: fetching the bars that are missing")
    await feed.backfill({s.name: venue.now_ms() - fetched_ms(config, s) for s in config.slots})
    if flow:
        await flow.begin()
    watchdog.doing(lambda: "starting: scoring what was missed")
    await starts.finish(parts.inboxes)
    listed, status = ours.listed, host.status
    changes = SlotChanges(shared, parts, tasks, feed=feed, flow=flow, listed=listed, status=status)
    await changes.follow_trades()
    tasks.create_task(deliver_time(parts.inboxes, shared.clock, venue), name="tick")
    tasks.create_task(retention(shared, parts.inboxes).run(), name="housekeeping")
    tasks.create_task(feed.run(), name="feed")
    tasks.create_task(SilenceWatch(feed, shared.troubles, venue).run(), name="silence")
    delivery = LoopProgress("deliver")
    delivering = deliver_bars(feed, parts.inboxes, flow, delivery, shared.turns)
    tasks.create_task(delivering, name="deliver")
    tasks.create_task(deliver_histories(feed, parts.inboxes), name="histories")
    tasks.create_task(_keep_time(ours.rest, venue, shared.clock), name="clock")

    def loops() -> Iterable[LoopProgress]:
        return [delivery, *(runner.progress for runner in parts.runners.values())]

    await _announce(shared, feed, host, parts=parts, loops=loops)
    if host.reload:
        host.reload.follow_slots(changes)
        choice = _coin_choice(shared, ours, host.reload, status)
        tasks.create_task(choice.run(), name="coins")


def _coin_choice(
    shared: SharedParts, ours: VenueSide, reload: Reload, status: StatusPublisher
) -> CoinChoice:
    """Build the part that chooses coins, and let it hear of reloads and delistings."""
    choice = CoinChoice(
        shared.config,
        ours.rest,
        shared.venue,
        changed=reload.follow_coins,
        tell=status.tell_slots,
        trouble=status.about("coins"),
    )
    reload.tell(choice)
    ours.listed.on_delisted = choice.wake
    return choice


async def _announce(
    shared: SharedParts,
    feed: Feed,
    host: HostSide,
    *,
    parts: SlotParts,
    loops: Callable[[], Iterable[LoopProgress]],
) -> None:
    """Report that the daemon is ready as soon as the feed is live."""
    watchdog = host.watchdog
    watchdog.doing(lambda: "starting: waiting for the venue's stream")
    while not feed.venue_state().connected:
        await shared.clock.sleep(_LIVE_CHECK_S)
    freeze_gc()
    runners = parts.runners.items()
    watchdog.doing(
        lambda: (
            shared.store.trouble
            or summary(((str(slot), k.shown) for slot, k in runners), shared.bus.trouble)
        )
    )
    watchdog.ready(loops, excused=lambda: bool(shared.store.trouble))
    host.status.tell(feed)  # before the report: a reader of "ready" must not see "starting"
    log.info("daemon.ready", version=version("hyperdrift"), slots=list(map(str, parts.runners)))


async def _check_store(shared: SharedParts) -> None:
    """Check a store that was too large to be checked as it was opened."""
    if not shared.store.inner.store.database.is_checked:
        await check_beside(shared.config.data_dir / STORE_NAME)


async def _keep_time(rest: RestClient, venue: VenueClock, clock: Clock) -> None:
    """Ask the venue for its time again and again, until cancelled."""
    while True:
        known_s = _VAGUE_CLOCK_S if venue.is_vague else _CLOCK_S
        await clock.sleep(known_s if venue.is_trusted else _DOUBTED_CLOCK_S)
        with contextlib.suppress(HyperdriftError):  # the feed logs it, once
            await rest.learn_clock()


def _online(slots: tuple[SlotName, ...], clock: Clock) -> DaemonStatus:
    return DaemonStatus(
        state="online",
        version=version("hyperdrift"),
        slots=tuple(map(str, slots)),
        since_ms=clock.now_ms(),
        doing=GREETING,
        **identity(),
    )
