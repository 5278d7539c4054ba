"""Which line tells of which fault in `benchmarks.chaos`, and when none can be expected.

Each time that a fault was done is judged by itself, against what the daemon and its service
manager wrote. A line tells of one occurrence; two share it only where it says that something
began, and it went on.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

Outcome = Literal["told", "masked", "untouched", "untold"]
Spans = Sequence[tuple[float, float]]

BEFORE_S, AFTER_S = 1.0, 75.0
"""An occurrence is told by a line from so long before it began until so long after it ended."""
_SOON_S = 3.0
_HOUR_S, _STATUS_S = 12.0, 11.0  # at 300 times real time; from one status to the next
_SAME_S = 0.5  # a log line and the event over MQTT that says the same
_ENDED = r"^daemon ended with"


class Line(NamedTuple):
    """What somebody wrote: when (wall), who (`daemon` or `manager`), and the words."""

    at: float
    by: str
    text: str


class Trace(NamedTuple):
    """How a kind of fault is told.

    Attributes:
        line: What the daemon writes, as a pattern; empty if only its manager can know.
        needs: What must have been in order for that, names of `AWAY`.
        manager: What the service manager writes; counts where the daemon could not.
        tell_s: How long the daemon needs, once it was touched.
        lasts_s: For how long it must have been touched to be able to notice.
        until: The line that ends what `line` says began; until then it is not said again.
        calm_s: After so long without it, the next one is said again.
        counts: What the daemon's status counts, of which there is a line an hour while it lasts.
        is_kept: What `line` says began is known over a restart of the daemon.
        after_s: Until so long after the end a line tells of it: shorter where the venue does
            the same on a good day, now and then.
    """

    line: str
    needs: tuple[str, ...] = ("daemon",)
    manager: str = ""
    tell_s: float = 3.0
    lasts_s: float = 0.0
    until: str = ""
    calm_s: float = 0.0
    counts: str = ""
    is_kept: bool = False
    after_s: float = AFTER_S


AWAY = {
    "daemon": "dead, stopped or starting",
    "disk": "the daemon has said store.unavailable and not yet store.back",
    "link": "down",
    "stream": "the daemon has said feed.stream_lost and not yet feed.stream_back",
    "rest": "the daemon has said feed.trouble and not yet feed.recovered",
    "bars": "the daemon has said feed.bar_late and not yet feed.bars_on_time",
    "time": "the link was slow, and the venue's time learnt over it",
    "broker": "dead or stopped, or the daemon has said bus.lost and not yet bus.connected",
    "presence": "the daemon has not said that the bot is online, or that it is no more",
    "bot": "dead, stopped or starting",
    "clock": "the venue's clock was set back, and no bar closed",
    "live": "another version went live before the daemon looked at the files again",
}
"""What masks: a fault is masked if it met the daemon only while one of what it needs was so."""

_STREAM = ("daemon", "disk", "link", "stream")
_REST = ("daemon", "disk", "link", "rest")
_BUS = ("daemon", "link", "broker")
_FILES = ("daemon", "disk", "live")
_LOST = Trace(
    r"feed\.stream_lost", ("daemon", "link"), until=r"feed\.stream_(back|connected)"
)  # fmt: skip
_NO_BROKER = Trace(r"bus\.lost", ("daemon", "link"), until=r"bus\.connected")
_TROUBLE = r"feed\.trouble|venue\.unreachable|feed\.funding_late|feed\.backfill_put_off"


def _oddity(kinds: str, needs: tuple[str, ...], lasts_s: float = 0.0) -> Trace:
    line = rf'"kind": "({kinds})".*feed\.oddity'
    return Trace(line, needs, lasts_s=lasts_s, calm_s=2.0, counts=kinds, after_s=10.0)


TRACES: Mapping[str, Trace] = {
    "daemon_kill": Trace("", (), r"daemon ended with SIGKILL"),
    "daemon_stop": Trace("", (), r"daemon ended with (code 0|SIGTERM)"),
    "daemon_hang": Trace("", (), r"daemon (watchdog|start) timeout"),
    "second_daemon": Trace("", (), r"another hyperdrift .*runs on"),
    "child_kill": Trace(r"killed by SIGKILL", ("daemon", "disk")),
    "child_hang": Trace(r"it was stopped.* after 60 s", ("daemon", "disk"), tell_s=62),
    "child_out_of_memory": Trace(r"ran out of its 300 MiB", ("daemon", "disk")),
    "broker_kill": _NO_BROKER._replace(manager=r"broker ended with SIGKILL"),
    "broker_hang": _NO_BROKER._replace(  # noticed where a bar is published: 10 s may an answer take
        needs=("daemon", "link", "rest", "clock"), tell_s=0, lasts_s=11.5
    ),
    "broker_gone": _NO_BROKER._replace(manager=r"broker ended with SIGKILL"),
    # A bot killed in the moment in which it takes leave of the broker has no last will; that it
    # comes back without a model says the same.
    "bot_kill": Trace(
        r'"online": (false|true.*"model_id": "",).*bot\.presence',
        (*_BUS, "presence"),
        r"bot ended with SIGKILL",
    ),
    "bot_hang": Trace(
        r"bot\.silent",
        (*_BUS, "rest", "clock", "presence"),
        lasts_s=5,
        until=r"bot\.speaks",
        is_kept=True,
    ),
    "bot_never_answers": Trace(r"swap\.unanswered", _BUS, lasts_s=41.5, after_s=5.0),
    "disk_full": Trace(
        r"disk is full|No space left|disk I/O error", ("daemon",), until=r"store\.back"
    ),
    "read_only": Trace(
        r"readonly|[Rr]ead-only|Permission denied|unable to open database", until=r"store\.back"
    ),
    "store_corrupt": Trace(r"store\.corrupt"),
    "model_tampered": Trace(r"model\.lost|swap\.refused|digest", _FILES, tell_s=62),
    "pointer_lost": Trace(r"LATEST\.json was missing|model\.lost", _FILES, tell_s=62),
    "pointer_old": Trace(r"an old LATEST\.json came back", _FILES, tell_s=62),
    "link_down": Trace(rf"bus\.lost|feed\.stream_lost|feed\.bar_late|{_TROUBLE}"),
    "link_slow": Trace(rf"bus\.lost|feed\.stream_lost|feed\.bar_late|{_TROUBLE}"),
    "malformed_messages": Trace(r"bus\.malformed", _BUS),
    "disconnect": _LOST,
    "expired": Trace(r"feed\.stream_renewed", ("daemon", "link", "stream")),
    "stall": _LOST._replace(tell_s=0, lasts_s=56),
    "withhold": _oddity("last_state_missing", (*_STREAM, "rest", "bars", "time")),
    "late": _oddity("late_frame", (*_STREAM, "time"), 1.5),
    "reorder": _oddity("out_of_order|late_frame", _STREAM),
    "duplicate": _oddity("duplicate", _STREAM),
    "no_trades": _oddity("nobody_trades", (*_STREAM, "rest", "bars"), 1.5),
    "malformed": Trace(
        rf"stream\.schema_changed|{_TROUBLE}", ("daemon", "disk", "link"), calm_s=2.0
    ),
    "bad_bar": Trace(
        r"bar_refused|future_bar|price_doubted",
        ("daemon", "disk", "link", "stream", "rest"),
        calm_s=2.0,
        after_s=10.0,
    ),
    "http_error": Trace(
        rf'{_TROUBLE}|"kind": "error_answer".*feed\.oddity',
        ("daemon", "disk", "link"),
        lasts_s=1.5,
        calm_s=2.0,
        counts="error_answer",
        after_s=10.0,
    ),
    "slow": Trace(r"feed\.bar_late", _REST, lasts_s=1.5, until=r"feed\.bars_on_time"),
    "stale_rest": Trace(
        r'"kind": "stale_answer"|feed\.bar_late',
        _REST,
        lasts_s=1.5,
        calm_s=2.0,
        counts="stale_answer",
        after_s=10.0,
    ),
    "dropped_keepalive": _oddity("connection_dropped", ("daemon", "link", "rest")),
    "clock_jump": Trace(r"venue\.clock_jumped", _REST),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One fault that was done.

    Attributes:
        kind: One of `TRACES`.
        begin: When, wall.
        end: Until when.
        touched: How often it met the daemon; None if that needs no counting.
        first: When it first met the daemon.
        last: When it last did.
        gone: When what it had done was undone by something else; None if it was not.
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
        """When it met the daemon, as far as is known."""
        return (
            self.begin if self.first is None else self.first,
            self.end if self.last is None else self.last,
        )


class Verdict(NamedTuple):
    """What the journal says of an occurrence, and why not more."""

    of: Occurrence
    outcome: Outcome
    why: str = ""


def verdicts(
    occurrences: Iterable[Occurrence], journal: Sequence[Line], away: Mapping[str, Spans]
) -> list[Verdict]:
    """Judge each occurrence, in the order in which they began.

    Args:
        occurrences: Of whatever kinds.
        journal: Everything that daemon and manager wrote, oldest first.
        away: When what is named in `AWAY` was not in order.
    """
    of_kind: dict[str, list[Occurrence]] = {}
    for occurrence in sorted(occurrences, key=lambda o: o.begin):
        of_kind.setdefault(occurrence.kind, []).append(occurrence)
    found = [v for some in of_kind.values() for v in _of_one_kind(some, journal, away)]
    return sorted(found, key=lambda v: v.of.begin)


def _of_one_kind(
    occurrences: Sequence[Occurrence], journal: Sequence[Line], away: Mapping[str, Spans]
) -> list[Verdict]:
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
            found.append(Verdict(occurrence, "untouched"))
        elif occurrence in told:
            found.append(Verdict(occurrence, "told"))
        elif masks[occurrence]:
            found.append(Verdict(occurrence, "masked", " ".join(masks[occurrence])))
        else:
            found.append(Verdict(occurrence, "untold"))
    return found


def _times(journal: Sequence[Line], by: str, pattern: str) -> list[float]:
    """Return when a pattern was written, once where the same was said in two places."""
    wanted = re.compile(pattern)
    times = [line.at for line in journal if pattern and line.by == by and wanted.search(line.text)]
    return times[:1] + [b for a, b in pairwise(times) if b - a > _SAME_S]


def _told(
    met: Sequence[Occurrence],
    masks: Mapping[Occurrence, tuple[str, ...]],
    times: Sequence[float],
    trace: Trace,
) -> set[Occurrence]:
    """Give each line to an occurrence: what was said while it lasted was said of it."""
    told = _assigned(met, times, trace, min(_SOON_S, trace.after_s))
    for is_masked in (False, True):  # what nothing hides cannot do without one
        some = [o for o in met if o not in told and bool(masks[o]) is is_masked]
        left = [at for at in times if at not in told.values()]
        told |= _assigned(some, left, trace, trace.after_s)
    return set(told)


def _assigned(
    occurrences: Collection[Occurrence], times: Sequence[float], trace: Trace, after_s: float
) -> dict[Occurrence, float]:
    """Give each line to the occurrence that can wait least for one; return who got which."""
    told: dict[Occurrence, float] = {}
    for at in times:
        waiting = [
            o
            for o in occurrences
            if o not in told and o.begin - BEFORE_S - trace.calm_s <= at <= o.end + after_s
        ]
        if waiting:
            told[min(waiting, key=lambda o: o.end)] = at
    return told


def _shared(
    occurrences: Sequence[Occurrence], told: set[Occurrence], journal: Sequence[Line], trace: Trace
) -> set[Occurrence]:
    """Return who else is told by a line that says what began before and still lasted."""
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
                earlier.begin <= at <= earlier.end + trace.calm_s + BEFORE_S
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
    """Whether it was counted, in an episode of which a line was written within the hour."""
    first, last = occurrence.met
    if not trace.counts or not any(first - _HOUR_S - trace.calm_s <= b <= first for b in begins):
        return False
    counted = _times(journal, "daemon", rf"^counted more: ({trace.counts})$")
    return any(first <= at <= last + _STATUS_S for at in counted)


def _masks(occurrence: Occurrence, trace: Trace, away: Mapping[str, Spans]) -> tuple[str, ...]:
    """Return what was away whenever it could have been told; empty if it could."""
    first, last = occurrence.met
    until = last + trace.tell_s
    spans = {name: _within(away.get(name, ()), first, until) for name in trace.needs}
    if occurrence.gone is not None:
        spans["live"] = _within([(occurrence.gone, until)], first, until)
    edge = first
    for begin, end in [*sorted(s for some in spans.values() for s in some), (until, until)]:
        # From `edge` to `begin` everything was in order.
        if min(begin, last) - edge >= trace.lasts_s and begin - edge >= trace.tell_s:
            return ()
        edge = max(edge, end)
    return tuple(name for name, some in spans.items() if some)


def _within(spans: Spans, begin: float, end: float) -> list[tuple[float, float]]:
    return [(max(a, begin), min(b, end)) for a, b in spans if a < end and b > begin]
