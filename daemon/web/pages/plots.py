"""Work out the pictures of the pages: where each line, bar and mark lies.

The templates in `parts/plots.html` draw them as SVG.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from daemon.web.pages.axis import Axis, Tick, time_ticks, value_axis, value_ticks
from daemon.web.pages.formats import instant, number, path_part, signed
from daemon.web.pages.words import MARKS, Word
from daemon.web.views import DriftBar, EquityPoint, TimelineMark, WinShare

_FINE: Final = 10  # steps of a line's coordinates in one percent
_MOST_EVIDENCE: Final = 3.0  # where the picture of drift ends
_LEAST_EVIDENCE: Final = 1.25
_LARGEST: Final = 1e12  # basis points; beyond it a sum is no sum
_LEAST_SPAN_MS: Final = 3_600_000
_ON_EQUITY: Final = frozenset({"live", "rolled_back"})


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, on a picture.

    Attributes:
        x: Where, in percent of the width.
        at_ms: When.
        text: What happened.
        link: The page that says more.
        word: How it is shown.
    """

    x: float
    at_ms: int
    text: str
    link: str
    word: Word


@dataclass(frozen=True, slots=True)
class EquityPlot:
    """The sum of signals after costs.

    Attributes:
        line: The points of the line, on 1000 by 1000.
        zero: Where zero lies, in percent from the top.
        y: Labels of the sum, in percent from the top.
        x: Labels of the time.
        marks: The changes of the live version.
        told: The picture in words.
    """

    line: Markup
    zero: float
    y: tuple[Tick, ...]
    x: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    told: str


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A small line: its points on `width` by 1000, and where zero lies in the height."""

    line: Markup
    zero: int
    width: int


@dataclass(frozen=True, slots=True)
class Lane:
    """All marks of one kind."""

    word: Word
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened to the versions of a slot, a lane for each kind that did happen."""

    lanes: tuple[Lane, ...]
    x: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class DriftPlot:
    """Bars of evidence: (the feature, percent of the width), and where the alarm line lies."""

    bars: tuple[tuple[DriftBar, float], ...]
    alarm: float


def equity_plot(
    points: Sequence[EquityPoint], timeline: Sequence[TimelineMark], slot: str, now_ms: int
) -> EquityPlot | None:
    """Draw the sum of signals up to now, ms UTC; None if there are fewer than two points."""
    known = _known(points)
    if len(known) < 2:  # noqa: PLR2004 - one point is no line
        return None
    across = _times([point.t for point in known], now_ms)
    up = value_axis([point.total_bp for point in known])
    marks = _marks([m for m in timeline if m.kind in _ON_EQUITY], across, slot)
    last = known[-1].total_bp
    return EquityPlot(
        line=_steps(known, across, up),
        zero=round(100 - up.place(0), 2),
        y=tuple(Tick(round(100 - t.at, 2), t.text) for t in value_ticks(up)),
        x=time_ticks(across),
        marks=tuple(mark for mark in marks if across.low <= mark.at_ms <= across.high),
        told=f"Sum of {number(len(known))} signals after costs: {signed(last, 'bp')}.",
    )


def sparkline(points: Sequence[EquityPoint]) -> Sparkline | None:
    """Draw a small line; None if there are fewer than two points."""
    known = _known(points)
    if len(known) < 2:  # noqa: PLR2004 - one point is no line
        return None
    up = value_axis([point.total_bp for point in known])
    fine = 1000 / (up.high - up.low)
    line = " ".join(f"{i},{(up.high - p.total_bp) * fine:.0f}" for i, p in enumerate(known))
    zero = round(up.high * fine)
    return Sparkline(Markup(line), zero, len(known) - 1)  # noqa: S704 - whole numbers only


def timeline_plot(timeline: Sequence[TimelineMark], slot: str, now_ms: int) -> Timeline | None:
    """Draw what happened up to now, ms UTC; None if nothing did."""
    known = [mark for mark in timeline if instant(mark.at_ms)]
    if not known:
        return None
    across = _times([mark.at_ms for mark in known], now_ms)
    lanes = (
        Lane(word, tuple(_marks([m for m in known if m.kind == kind], across, slot)))
        for kind, word in MARKS.items()
    )
    return Timeline(tuple(lane for lane in lanes if lane.marks), time_ticks(across))


def drift_plot(bars: Sequence[DriftBar]) -> DriftPlot:
    """Draw the evidence of each feature beside the alarm line."""
    known = [bar for bar in bars if math.isfinite(bar.evidence)]
    most = max((bar.evidence for bar in known), default=0.0)
    axis = Axis(0.0, min(_MOST_EVIDENCE, max(_LEAST_EVIDENCE, most)))
    return DriftPlot(tuple((bar, axis.place(bar.evidence)) for bar in known), axis.place(1.0))


def interval_plot(share: WinShare) -> tuple[float, float, float] | None:
    """Return where a share and its bounds lie, in percent; None if they are not known."""
    if share.value is None or share.low is None or share.high is None:
        return None
    if not all(map(math.isfinite, (share.value, share.low, share.high))):
        return None
    axis = Axis(0.0, 1.0)
    return axis.place(share.low), axis.place(share.value), axis.place(share.high)


def mark_link(mark: TimelineMark, slot: str) -> str:
    """Return the address of the version that a mark concerns, or of its entry in the journal."""
    if mark.model_id:
        return f"/slots/{path_part(slot)}/versions/{path_part(mark.model_id)}"
    return f"/journal?slot={path_part(slot)}&before={mark.seq + 1}#entry-{mark.seq}"


def _known(points: Sequence[EquityPoint]) -> list[EquityPoint]:
    return [p for p in points if instant(p.t) and abs(p.total_bp) < _LARGEST]


def _times(times: Sequence[int], now_ms: int) -> Axis:
    low, high = min(times), max(*times, now_ms if instant(now_ms) else 0)
    return Axis(min(low, high - _LEAST_SPAN_MS), high)


def _steps(points: Sequence[EquityPoint], across: Axis, up: Axis) -> Markup:
    """Return a line that stays where it is until the next outcome is known."""
    places, height = [], 0
    for i, point in enumerate(points):
        x, before = _fine(across.place(point.t)), height
        height = _fine(100 - up.place(point.total_bp))
        places += [f"{x},{before}", f"{x},{height}"] if i else [f"{x},{height}"]
    places.append(f"{100 * _FINE},{height}")
    return Markup(" ".join(places))  # noqa: S704 - whole numbers only


def _marks(timeline: Sequence[TimelineMark], across: Axis, slot: str) -> list[Mark]:
    return [
        Mark(across.place(m.at_ms), m.at_ms, m.text, mark_link(m, slot), MARKS[m.kind])
        for m in timeline
    ]


def _fine(percent: float) -> int:
    return round(percent * _FINE)
