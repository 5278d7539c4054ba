"""Build and start what people are told by: the status page, the metrics and the messages."""

import asyncio
from collections.abc import Callable, Collection
from typing import NamedTuple

from daemon.config.schema import Config
from daemon.market_data.feed import Feed
from daemon.notify.delivery import DeliveryCounts
from daemon.notify.digest import DigestMaker
from daemon.notify.notifier import Notifier
from daemon.registry.keys import trusted_keys
from daemon.registry.registry import Registry
from daemon.service.status_publisher import StatusPublisher
from daemon.store.data_folder import STORE_NAME
from daemon.store.retrying_store import SingleAttemptStore
from daemon.web.data.read_model import Views
from daemon.web.metrics.event_tally import EventTally
from daemon.web.metrics.exposition import Exporter
from daemon.web.metrics.loop_delay import LoopDelay
from daemon.web.metrics.metrics_page import MetricsPage
from daemon.web.metrics.reading import DaemonReader
from daemon.web.pages.renderer import PageRenderer
from daemon.web.site import Site, Sources
from daemon.wiring import SharedParts, SlotParts
from hyperdrift.slot_name import SlotName


class PeopleParts(NamedTuple):
    """What people are told by; there may be no page, and then no metrics."""

    notifier: Notifier
    page: tuple[MetricsPage, Site] | None

    def start(self, tasks: asyncio.TaskGroup, config: Config) -> None:
        """Start their tasks; the notifier was prepared with this configuration before."""
        if self.page:
            metrics, site = self.page
            tasks.create_task(metrics.run(), name="metrics")
            tasks.create_task(site.run(), name="status-page")
        tasks.create_task(self.notifier.run(config), name="notifier")


def build_people_parts(
    shared: SharedParts, parts: SlotParts, status: StatusPublisher, doing: Callable[[], str]
) -> PeopleParts:
    """Build them; `doing` returns how far the start is, empty once it is over."""
    notices = _notifier(shared, parts.runners)
    status.notify = lambda: notices.trouble
    if not shared.config.web.listen:
        return PeopleParts(notices, None)
    metrics = _metrics_page(shared, parts, status, doing, notices.counts)
    return PeopleParts(notices, (metrics, _status_page(shared, parts, status, doing, metrics)))


def _status_page(
    shared: SharedParts,
    parts: SlotParts,
    status: StatusPublisher,
    doing: Callable[[], str],
    metrics: MetricsPage,
) -> Site:
    folder, bus = shared.config.data_dir, shared.bus
    data = Views(
        parts.runners,
        status=status.status,
        broker=lambda: "" if bus.connected else bus.trouble or "it is not connected yet",
        clock=shared.clock,
        now_ms=shared.venue.now_ms,
        store=SingleAttemptStore(shared.store),
        registry=Registry(folder / "models", ring=trusted_keys(folder)),
    )
    sources = Sources(
        data,
        lambda slot: parts.runners[slot].shown,
        parts.router,
        shared.announcements,
        not_ready=lambda: doing() or shared.store.trouble or _venue_trouble(status.feed),
        clock=shared.clock,
        venue=shared.venue,
        slots=parts.runners,
    )
    site = Site(shared.config, sources, PageRenderer(), (metrics,))
    status.page = lambda: site.trouble
    return site


def _metrics_page(
    shared: SharedParts,
    parts: SlotParts,
    status: StatusPublisher,
    doing: Callable[[], str],
    notified: DeliveryCounts,
) -> MetricsPage:
    """Build the metrics; what happens is counted from now on."""
    reader = DaemonReader(
        version=status.online.version,
        clock=shared.clock,
        runners=parts.runners,
        store=shared.store,
        bus=shared.bus,
        start=doing,
        find_feed=lambda: status.feed,
        notified=notified,
    )
    tally = EventTally(parts.runners, shared.clock)
    shared.announcements.listen(tally.take)
    store, delay = shared.config.data_dir / STORE_NAME, LoopDelay(shared.clock)
    return MetricsPage(Exporter(reader.read, store, tally, delay))


def _venue_trouble(feed: Feed | None) -> str:
    """Return why no bars come, "" if they do."""
    connected = feed is not None and feed.venue_state().connected
    return "" if connected else "the stream from the venue is down; it is being connected again"


def _notifier(shared: SharedParts, slots: Collection[SlotName]) -> Notifier:
    return Notifier(
        shared.announcements,
        SingleAttemptStore(shared.store),
        clock=shared.clock,
        venue=shared.venue,
        digest=DigestMaker(shared.store, shared.venue, slots),
    )
