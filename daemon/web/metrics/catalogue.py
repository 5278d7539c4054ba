"""Every metric: its name, what it counts, its labels. A board or a rule may use no other.

Names follow Prometheus: base units (seconds, bytes, ratios), `_total` for what only grows. A
counter begins at 0 when the daemon starts. No label has a text that a stranger can choose.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["gauge", "counter", "stateset", "info", "histogram"]


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """One metric.

    Attributes:
        name: Its name, as a query writes it; a histogram has `_bucket`, `_sum` and `_count` of it.
        kind: What it is to Prometheus.
        says: What it says, in one sentence.
        labels: Its labels beside those of the scrape.
        buckets: Upper bounds of a histogram, s.
    """

    name: str
    kind: Kind
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


PHASES: Final = (
    *("collecting", "serving", "probation", "paused", "retraining", "judging", "swapping"),
)
RESULTS: Final = ("passed", "refused", "failed", "stopped")
_SLOT: Final = ("slot",)
_EARNED: Final = ("slot", "source")
_WHOLE: Final = "hyperdrift_"

_DAEMON: Final = (
    ("build_info", "info", "Version of the daemon and of its Python.", ("version", "python")),
    ("ready", "gauge", "1 once the start is over, 0 before."),
    ("uptime_seconds", "gauge", "Seconds since the daemon started."),
    ("broker_connected", "gauge", "1 while the MQTT broker is connected."),
    ("store_rows_written_total", "counter", "Rows written to the store, the journal included."),
    ("store_size_bytes", "gauge", "Size of the store with its write-ahead log."),
    ("store_writable", "gauge", "0 while the disk refuses what is to be written."),
    ("disk_free_bytes", "gauge", "Free space where the data folder is."),
    ("disk_size_bytes", "gauge", "Size of the disk where the data folder is."),
)
_NOTIFY: Final = (
    ("notifications_sent_total", "counter", "Messages that a service of `[notify]` took."),
    ("notifications_failed_total", "counter", "Attempts to send one that failed."),
    ("notifications_given_up_total", "counter", "Messages that a service will never get."),
)
_VENUE: Final = (
    ("venue_connected", "gauge", "1 while the stream of the venue is connected."),
    ("venue_reconnects_total", "counter", "How often the stream was connected again."),
    ("venue_weight_left", "gauge", "Request weight that is left in this minute."),
    ("venue_weight_limit", "gauge", "Request weight that may be spent in a minute."),
    ("venue_retries_total", "counter", "REST calls that failed and were tried again."),
    ("venue_throttled_total", "counter", "REST calls among them that were answered with 429."),
    ("venue_clock_jumps_total", "counter", "How often the venue's clock jumped."),
    ("venue_oddities_total", "counter", "Odd things the venue sent, in all slots.", ("kind",)),
)
_OF_SLOT: Final = (
    ("phase", "stateset", "What the slot does: 1 for its phase, 0 for the others.", _SLOT),
    ("model_info", "info", "The live version.", ("slot", "model_id")),
    ("model_age_seconds", "gauge", "Age of the newest bar the live model learnt from.", _SLOT),
    ("win_rate_ratio", "gauge", "Share of the bot's trades, or of the signals, that won.", _SLOT),
    ("win_rate_trades", "gauge", "How many trades or signals the win rate is of.", _SLOT),
    ("profit_7d", "gauge", "Profit of the bot's trades of seven days, quote units.", _SLOT),
    ("earning_mean_ratio", "gauge", "Mean return after costs, of the live model.", _EARNED),
    ("earning_low_ratio", "gauge", "Lower bound of its 95 % interval, from 30 on.", _EARNED),
    ("earning_high_ratio", "gauge", "Upper bound of its 95 % interval, from 30 on.", _EARNED),
    ("earning_returns", "gauge", "How many returns the mean is of.", _EARNED),
    ("drift_evidence", "gauge", "Evidence for a change; 1 is an alarm.", ("slot", "feature")),
    ("lag_seconds", "gauge", "How late the newest bar was scored, or the next one is now.", _SLOT),
    ("last_bar_timestamp_seconds", "gauge", "Open time of the newest bar that was scored.", _SLOT),
    ("retrain_running", "gauge", "1 while a retrain runs.", _SLOT),
    ("retrain_place", "gauge", "Place of its retrain or challenger in the queue, or 0.", _SLOT),
    ("retrain_progress_ratio", "gauge", "Share of the running retrain that is done.", _SLOT),
    ("slot_trouble", "gauge", "1 while the slot lacks something; its page says what.", _SLOT),
    ("feature_mismatch", "gauge", "1 while a bot's features differ from the daemon's.", _SLOT),
    ("bots_online", "gauge", "Bots that are connected to the broker.", _SLOT),
    ("bots_silent", "gauge", "Bots that are online and publish no predictions.", _SLOT),
)  # fmt: skip
_BARS: Final = (
    ("bars_confirmed_total", "counter", "Bars that REST confirmed.", _SLOT),
    ("bars_provisional_total", "counter", "Bars used before REST confirmed them.", _SLOT),
    ("bars_filled_total", "counter", "Flat bars for times in which nobody traded.", _SLOT),
    ("bars_revised_total", "counter", "Bars that REST changed after they were used.", _SLOT),
    ("bars_refused_total", "counter", "Bars with impossible numbers, or from the future.", _SLOT),
    ("bars_gaps_total", "counter", "Bars that nobody can fill any more.", _SLOT),
)
_TOLD: Final = (
    ("retrains_total", "counter", "Retrains that ended.", ("slot", "result")),
    ("refusals_total", "counter", "Candidates that a gate refused.", ("slot", "gate")),
    ("swaps_total", "counter", "Versions that went live, or were refused.", ("slot", "result")),
    ("rollbacks_total", "counter", "Earlier versions that went live again.", _SLOT),
    ("alerts_total", "counter", "Alerts and alarms for a person.", ("slot", "kind", "severity")),
    ("events_total", "counter", "Everything that was told, by kind.", ("slot", "kind")),
)
_TIMES: Final = (
    MetricEntry(
        f"{_WHOLE}retrain_duration_seconds",
        "histogram",
        "How long a retrain took, by its result.",
        ("result",),
        (10, 30, 60, 120, 300, 600, 1200, 3600, 7200),
    ),
    MetricEntry(
        f"{_WHOLE}swap_ack_seconds",
        "histogram",
        "From a swap order to the bot's answer.",
        ("status",),
        (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    ),
    MetricEntry(
        f"{_WHOLE}event_loop_delay_seconds",
        "histogram",
        "How late the event loop woke a task.",
        (),
        (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    ),
)

ENTRIES: Final = (
    tuple(
        MetricEntry(f"{_WHOLE}{name}", kind, says, *labels)  # type: ignore[arg-type]
        for name, kind, says, *labels in (*_DAEMON, *_NOTIFY, *_VENUE, *_OF_SLOT, *_BARS, *_TOLD)
    )
    + _TIMES
)
"""All metrics, in the order in which they are shown."""

BY_NAME: Final = {entry.name: entry for entry in ENTRIES}
