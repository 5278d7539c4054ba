"""Count what is told: retrains, refusals, swaps, rollbacks and alerts, since the start.

The journal has all of it, but a scrape must not read a journal of years. So whatever is announced
is counted here when it happens.
"""

from collections.abc import Collection
from typing import Any, Final

from prometheus_client import Counter, Histogram, Metric

from daemon.runtime.announcements import Announcement
from daemon.web.metrics.catalogue import BY_NAME, RESULTS, MetricEntry
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

_OTHER: Final = "other"
# Gates have names of the child process, which a person may have exchanged.
_MOST_NAMES: Final = 40
_ENDS: Final = {"retrain_finished": "", "retrain_failed": "failed", "retrain_stopped": "stopped"}
_URGENT: Final = ("warning", "critical")
# So many retrains that began and did not end are remembered: at most one a slot runs.
_MOST_JOBS: Final = 1000


def counter(name: str) -> Counter:
    """Return an empty counter of the catalogue."""
    entry = BY_NAME[name]
    return Counter(entry.name, entry.says, entry.labels, registry=None)


def histogram(name: str) -> Histogram:
    """Return an empty histogram of the catalogue."""
    entry: MetricEntry = BY_NAME[name]
    return Histogram(entry.name, entry.says, entry.labels, registry=None, buckets=entry.buckets)


class EventTally:
    """Counts what the daemon announces.

    Args:
        slots: The slots, which may change; others are not counted.
        clock: Real time; a retrain takes as long as it takes, however fast the venue is.
    """

    def __init__(self, slots: Collection[SlotName], clock: Clock) -> None:
        self._clock = clock
        self._slots = slots
        self._names: dict[str, set[str]] = {"gate": set(), "kind": set()}
        self._began_s: dict[str, float] = {}
        self._retrains = counter("hyperdrift_retrains_total")
        self._refusals = counter("hyperdrift_refusals_total")
        self._swaps = counter("hyperdrift_swaps_total")
        self._rollbacks = counter("hyperdrift_rollbacks_total")
        self._alerts = counter("hyperdrift_alerts_total")
        self._events = counter("hyperdrift_events_total")
        self._took = histogram("hyperdrift_retrain_duration_seconds")
        self._acks = histogram("hyperdrift_swap_ack_seconds")

    def _begin(self) -> None:
        """Show 0 for what has not happened yet: from nothing to 1 is no increase to Prometheus."""
        for slot in map(str, self._slots):
            self._rollbacks.labels(slot)
            for result in RESULTS:
                self._retrains.labels(slot, result)
            for result in ("live", "refused"):
                self._swaps.labels(slot, result)
            for severity in _URGENT:
                self._alerts.labels(slot, "alert", severity)

    def take(self, told: Announcement) -> None:
        """Count one announcement."""
        slot, kind, fields = told.slot, self._bounded("kind", told.kind), told.fields
        if slot and SlotName.parse(slot) not in self._slots:
            return
        self._events.labels(slot, kind).inc()
        if told.severity in _URGENT:
            self._alerts.labels(slot, kind, told.severity).inc()
        match told.kind:
            case "retrain_started":
                self._start(str(fields.get("job")))
            case "retrain_finished" | "retrain_failed" | "retrain_stopped":
                self._end(told)
            case "swapped":
                self._swaps.labels(slot, "live").inc()
            case "swap_refused":
                self._swaps.labels(slot, "refused").inc()
            case "rolled_back":
                self._rollbacks.labels(slot).inc()
            case "acknowledged":
                status = "loaded" if fields.get("status") == "loaded" else "refused"
                self._acks.labels(status).observe(fields["order_to_ack_ms"] / 1000)

    def collect(self) -> list[Metric]:
        """Return what was counted so far, of the slots that there are."""
        self._begin()
        counters = (self._retrains, self._refusals, self._swaps, self._rollbacks)
        others = (self._alerts, self._events, self._took, self._acks)
        families = [family for each in (*counters, *others) for family in each.collect()]
        shown = {"", *map(str, self._slots)}
        for family in families:
            family.samples = [s for s in family.samples if s.labels.get("slot", "") in shown]
        return families

    def _start(self, job: str) -> None:
        self._began_s[job] = self._clock.monotonic()
        while len(self._began_s) > _MOST_JOBS:
            self._began_s.pop(next(iter(self._began_s)))

    def _end(self, told: Announcement) -> None:
        fields: dict[str, Any] = told.fields
        result = _ENDS[told.kind] or ("passed" if fields.get("passed") else "refused")
        self._retrains.labels(told.slot, result).inc()
        for gate in fields.get("refused_by", ()):
            self._refusals.labels(told.slot, self._bounded("gate", gate)).inc()
        began_s = self._began_s.pop(str(fields.get("job")), None)
        if began_s is not None:
            self._took.labels(result).observe(self._clock.monotonic() - began_s)

    def _bounded(self, label: str, name: str) -> str:
        """Return a name, or `other` once the label has too many different ones."""
        names = self._names[label]
        if len(names) < _MOST_NAMES:
            names.add(name)
        return name if name in names else _OTHER
