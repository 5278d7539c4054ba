"""Turn the state of the daemon into metrics; nothing is read here, and nothing kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    StateSetMetricFamily,
)

from daemon.mqtt.messages import FeedState, SlotState, VenueState
from daemon.notify.delivery import DeliveryCounts
from daemon.web.metrics.catalogue import BY_NAME, PHASES, MetricEntry

_BP: Final = 1e4
_OF: Final = "slot"  # the label of an info that says whose it is; its others are what it says
_BARS: Final = ("confirmed", "provisional", "filled", "revised", "refused", "gaps")
# More kinds of features or oddities than there are: a bound, should one ever be made of texts.
_MOST: Final = 100


@dataclass(frozen=True, kw_only=True)
class DiskFigures:
    """The disk of the data folder; bytes, None where it does not say."""

    store_bytes: int | None = None
    free_bytes: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class DaemonReading:
    """What a scrape is made of.

    Attributes:
        version: The version of hyperdrift.
        python: The version of the interpreter.
        ready: Whether the start is over.
        uptime_s: Seconds since the start.
        broker_connected: Whether the broker is there.
        rows_written: Rows that were written to the store.
        writable: Whether the disk takes what is to be written.
        notified: What became of messages to people.
        venue: The connections to the venue; None before there is a feed.
        slots: Slot -> its state.
        feed: Slot -> counts of its bars.
    """

    version: str
    python: str
    ready: bool
    uptime_s: float
    broker_connected: bool
    rows_written: int = 0
    writable: bool = True
    notified: DeliveryCounts = field(default_factory=DeliveryCounts)
    venue: VenueState | None = None
    slots: Mapping[str, SlotState] = field(default_factory=dict)
    feed: Mapping[str, FeedState] = field(default_factory=dict)


class _Page:
    """The families of one scrape; a value of None is left out."""

    def __init__(self) -> None:
        self.families: dict[str, Metric] = {}

    def put(self, name: str, value: Any, *labels: str) -> None:
        if value is None:
            return
        whole = f"hyperdrift_{name}"
        if whole not in self.families:
            self.families[whole] = _family(BY_NAME[whole])
        self.families[whole].add_metric(labels, value)  # type: ignore[attr-defined]


def families(now: DaemonReading, disk: DiskFigures) -> Iterator[Metric]:
    """Yield the metrics of one reading; pure.

    Args:
        now: The state of the daemon.
        disk: The disk of its data folder.
    """
    page = _Page()
    _daemon(page, now, disk)
    for name in ("sent", "failed", "given_up"):
        page.put(f"notifications_{name}_total", getattr(now.notified, name))
    if now.venue:
        _venue(page, now.venue)
    for slot, state in now.slots.items():
        _slot(page, slot, state)
    for slot, counts in now.feed.items():
        for name in _BARS:
            page.put(f"bars_{name}_total", getattr(counts, name), slot)
    yield from page.families.values()


def _family(entry: MetricEntry) -> Metric:
    labels = entry.labels
    match entry.kind:
        case "counter":
            return CounterMetricFamily(entry.name, entry.says, labels=labels)
        case "info":
            name = entry.name.removesuffix("_info")
            return InfoMetricFamily(
                name, entry.says, labels=tuple(name for name in labels if name == _OF)
            )
        case "stateset":
            return StateSetMetricFamily(entry.name, entry.says, labels=labels)
        case _:
            return GaugeMetricFamily(entry.name, entry.says, labels=labels)


def _daemon(page: _Page, now: DaemonReading, disk: DiskFigures) -> None:
    page.put("build_info", {"version": now.version, "python": now.python})
    page.put("ready", now.ready)
    page.put("uptime_seconds", now.uptime_s)
    page.put("broker_connected", now.broker_connected)
    page.put("store_rows_written_total", now.rows_written)
    page.put("store_writable", now.writable)
    page.put("store_size_bytes", disk.store_bytes)
    page.put("disk_free_bytes", disk.free_bytes)
    page.put("disk_size_bytes", disk.size_bytes)


def _venue(page: _Page, venue: VenueState) -> None:
    page.put("venue_connected", venue.connected)
    page.put("venue_reconnects_total", venue.reconnects)
    page.put("venue_weight_left", venue.weight_left)
    page.put("venue_weight_limit", venue.weight_per_minute)
    page.put("venue_retries_total", venue.retries)
    page.put("venue_throttled_total", venue.throttled)
    page.put("venue_clock_jumps_total", venue.clock_jumps)
    for kind, count in list(venue.oddities.items())[:_MOST]:
        page.put("venue_oddities_total", count, kind)


def _slot(page: _Page, slot: str, state: SlotState) -> None:
    page.put("phase", {phase: phase == state.phase for phase in PHASES}, slot)
    if state.model_id is not None:
        page.put("model_info", {"model_id": state.model_id}, slot)
    page.put("model_age_seconds", state.model_age_s, slot)
    page.put("win_rate_ratio", state.win_rate, slot)
    page.put("win_rate_trades", state.trades, slot)
    page.put("profit_7d", state.pnl_7d, slot)
    _earning(page, slot, state.earning)
    for feature, evidence in list(state.drift.items())[:_MOST]:
        page.put("drift_evidence", evidence, slot, feature)
    page.put("lag_seconds", _seconds(state.lag_ms), slot)
    page.put("last_bar_timestamp_seconds", _seconds(state.last_bar_t), slot)
    job = state.retrain
    page.put("retrain_running", job is not None and not job.waits, slot)
    place = job.place if job else state.challenge.place if state.challenge else 0
    page.put("retrain_place", place, slot)
    page.put("retrain_progress_ratio", job and job.percent / 100, slot)
    page.put("slot_trouble", bool(state.trouble), slot)
    page.put("feature_mismatch", state.mismatch is not None, slot)
    online = [bot for bot in state.bots if bot.online]
    page.put("bots_online", len(online), slot)
    page.put("bots_silent", sum(bot.silent_since_ms is not None for bot in online), slot)


def _earning(
    page: _Page, slot: str, earning: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    for source, scopes in earning.items():
        figures = scopes["of_model"]
        page.put("earning_returns", figures["count"], slot, source)
        for name in ("mean", "low", "high"):
            bp = figures[f"{name}_bp"]
            page.put(
                f"earning_{name}_ratio", None if bp is None else round(bp / _BP, 8), slot, source
            )


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
