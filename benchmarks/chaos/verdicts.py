"""Judge whether the journal of `benchmarks.chaos` reports each fault, one by one.

A line reports one occurrence. Two occurrences share a line only if it says that a trouble began,
and the trouble lasted until the second.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from benchmarks.chaos.traces import TRACES, Trace

Outcome = Literal["told", "masked", "untouched", "untold"]
Spans = Sequence[tuple[float, float]]

_BEFORE_S = 1.0  # a line may be so much older than the note of its fault
_SOON_S = 3.0
_HOUR_S, _STATUS_S = 12.0, 11.0  # at 300 times real time; from one status to the next
_SAME_S = 0.5  # from a log line to the MQTT event of the same trouble
_ENDED = r"^daemon ended with"


class Line(NamedTuple):
    """A line of the journal: wall time, writer (`daemon` or `manager`) and text."""

    at: float
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One fault that was done; times are wall times in s.

    Attributes:
        kind: One of `TRACES`.
        begin: When it began.
        end: When it ended.
        touched: How often it met the daemon; None if it is not counted.
        first: When it first met the daemon.
        last: When it last met the daemon.
        gone: When something else undid its effect; None if nothing did.
    """

    kind: str
    begin: float
    end: float
    touched: int | None = None
    first: float | None = None
    last: float | None = None
    gone: float | None = None

    @property
    def met(self) -> tuple[float, float]:
        """The first and last time that it met the daemon, or its begin and end if unknown."""
        return (
            self.begin if self.first is None else self.first,
            self.end if self.last is None else self.last,
        )


class ChaosVerdict(NamedTuple):
    """Whether the journal reports an occurrence, or why it does not."""

    of: Occurrence
    outcome: Outcome
    why: str = ""


def verdicts(
    occurrences: Iterable[Occurrence], journal: Sequence[Line], away: Mapping[str, Spans]
) -> list[ChaosVerdict]:
    """Judge each occurrence, in the order in which they began.

    Args:
        occurrences: Occurrences of any kinds.
        journal: All lines of daemon and service manager, oldest first.
        away: Name in `AWAY` -> spans in which it did not work.
    """
    of_kind: dict[str, list[Occurrence]] = {}
    for occurrence in sorted(occurrences, key=lambda o: o.begin):
        of_kind.setdefault(occurrence.kind, []).append(occurrence)
    found = [v for some in of_kind.values() for v in _of_one_kind(some, journal, away)]
    return sorted(found, key=lambda v: v.of.begin)


def _of_one_kind(
    occurrences: Sequence[Occurrence], journal: Sequence[Line], away: Mapping[str, Spans]
) -> list[ChaosVerdict]:
    trace = TRACES[occurrences[0].kind]
    met = [o for o in occurrences if o.touched != 0]
    masks = {o: _masks(o, trace, away) for o in met}
    told = _told(met, masks, _times(journal, "daemon", trace.line), trace)
    told |= _shared(met, told, journal, trace)
    mute = [o for o in met if o not in told and (masks[o] or not trace.line)]
    told |= set(_assigned(mute, _times(journal, "manager", trace.manager), trace, trace.after_s))
    found = []
    for occurrence in occurrences:
        if occurrence.touched == 0:
            found.append(ChaosVerdict(occurrence, "untouched"))
        elif occurrence in told:
            found.append(ChaosVerdict(occurrence, "told"))
        elif masks[occurrence]:
            found.append(ChaosVerdict(occurrence, "masked", " ".join(masks[occurrence])))
        else:
            found.append(ChaosVerdict(occurrence, "untold"))
    return found


def _times(journal: Sequence[Line], by: str, pattern: str) -> list[float]:
    """Return the times of lines with a pattern; one time if two lines report the same."""
    wanted = re.compile(pattern)
    times = [line.at for line in journal if pattern and line.by == by and wanted.search(line.text)]
    return times[:1] + [b for a, b in pairwise(times) if b - a > _SAME_S]


def _told(
    met: Sequence[Occurrence],
    masks: Mapping[Occurrence, tuple[str, ...]],
    times: Sequence[float],
    trace: Trace,
) -> set[Occurrence]:
    """Return the reported occurrences; a line goes first to one during which it was written."""
    told = _assigned(met, times, trace, min(_SOON_S, trace.after_s))
    for is_masked in (False, True):  # an occurrence that is not masked needs a line
        some = [o for o in met if o not in told and bool(masks[o]) is is_masked]
        left = [at for at in times if at not in told.values()]
        told |= _assigned(some, left, trace, trace.after_s)
    return set(told)


def _assigned(
    occurrences: Collection[Occurrence], times: Sequence[float], trace: Trace, after_s: float
) -> dict[Occurrence, float]:
    """Assign each line to the occurrence whose time for one ends first; return the pairs."""
    told: dict[Occurrence, float] = {}
    for at in times:
        waiting = [
            o
            for o in occurrences
            if o not in told and o.begin - _BEFORE_S - trace.calm_s <= at <= o.end + after_s
        ]
        if waiting:
            told[min(waiting, key=lambda o: o.end)] = at
    return told


def _shared(
    occurrences: Sequence[Occurrence], told: set[Occurrence], journal: Sequence[Line], trace: Trace
) -> set[Occurrence]:
    """Return other occurrences that a line reports, because its trouble still lasted."""
    ends = _times(journal, "manager", _ENDED)
    begins = _times(journal, "daemon", trace.line)
    over = [*([] if trace.is_kept else ends), *_times(journal, "daemon", trace.until)]
    shared: set[Occurrence] = set()
    for number, occurrence in enumerate(occurrences):
        if occurrence in told:
            continue
        at = occurrence.met[0]
        before = [b for b in begins if b <= at]
        lasts = bool(trace.until and before) and not any(before[-1] < e <= at for e in over)
        if trace.calm_s and not lasts:
            lasts = any(
                earlier.begin <= at <= earlier.end + trace.calm_s + _BEFORE_S
                and not any(earlier.begin < e <= at for e in ends)
                for earlier in occurrences[:number]
                if earlier in told | shared
            )
        if lasts or _went_on(occurrence, begins, journal, trace):
            shared.add(occurrence)
    return shared


def _went_on(
    occurrence: Occurrence, begins: Sequence[float], journal: Sequence[Line], trace: Trace
) -> bool:
    """Return whether it was counted within an hour after a line about the same trouble."""
    first, last = occurrence.met
    if not trace.counts or not any(first - _HOUR_S - trace.calm_s <= b <= first for b in begins):
        return False
    counted = _times(journal, "daemon", rf"^counted more: ({trace.counts})$")
    return any(first <= at <= last + _STATUS_S for at in counted)


def _masks(occurrence: Occurrence, trace: Trace, away: Mapping[str, Spans]) -> tuple[str, ...]:
    """Return what was away whenever the fault could be noticed; empty if it could be."""
    first, last = occurrence.met
    until = last + trace.tell_s
    spans = {name: _within(away.get(name, ()), first, until) for name in trace.needs}
    if occurrence.gone is not None:
        spans["live"] = _within([(occurrence.gone, until)], first, until)
    edge = first
    for begin, end in [*sorted(s for some in spans.values() for s in some), (until, until)]:
        # From `edge` to `begin` everything worked.
        if min(begin, last) - edge >= trace.lasts_s and begin - edge >= trace.tell_s:
            return ()
        edge = max(edge, end)
    return tuple(name for name, some in spans.items() if some)


def _within(spans: Spans, begin: float, end: float) -> list[tuple[float, float]]:
    return [(max(a, begin), min(b, end)) for a, b in spans if a < end and b > begin]
