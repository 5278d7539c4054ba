"""Place values along an axis, and choose where it is labelled.

Places are shares of the width or height in percent: the pictures grow and shrink with the page,
their text and lines do not.
"""

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

from daemon.web.pages.formats import instant, number, signed

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_STEPS_MS: Final = (
    *(minutes * 60_000 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR_MS for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY_MS for days in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)),
)
_NEAR_END, _NEAR_START = 93.0, 7.0
_MARGIN: Final = 0.08  # at either end of an axis of values, a share of its span
_VALUE_TICKS, _TIME_TICKS = 6, 5  # about so many


@dataclass(frozen=True, slots=True)
class Tick:
    """A label of an axis.

    Attributes:
        at: Where, in percent of the axis.
        text: The label.
        anchor: How it lies there: `start`, `middle` or `end`.
    """

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Axis:
    """The values from `low` to `high`, which must be finite and not equal."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value lies, in percent; one outside lies at the end."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


def value_axis(values: list[float]) -> Axis:
    """Return an axis for finite values and zero, with a margin at either end."""
    low, high = min(0.0, *values), max(0.0, *values)
    room = (high - low) * _MARGIN or 1.0
    return Axis(low - room, high + room)


def value_ticks(axis: Axis) -> tuple[Tick, ...]:
    """Label round values in bp; zero is always one of them if it lies inside."""
    rough = (axis.high - axis.low) / _VALUE_TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    digits = max(0, -math.floor(math.log10(step)))
    first = math.ceil(axis.low / step)
    count = math.floor(axis.high / step) - first + 1
    values = ((first + i) * step for i in range(min(count, 2 * _VALUE_TICKS)))
    return tuple(
        Tick(axis.place(v), signed(v, "bp", digits) if v else f"{number(0)} bp") for v in values
    )


def time_ticks(axis: Axis) -> tuple[Tick, ...]:
    """Label round times in UTC on an axis in ms."""
    span = axis.high - axis.low
    step = next((s for s in _STEPS_MS if span / s <= _TIME_TICKS), _STEPS_MS[-1])
    first = math.ceil(axis.low / step)
    count = min(math.floor(axis.high / step) - first + 1, 2 * _TIME_TICKS)
    ticks = []
    for t in ((first + i) * step for i in range(count)):
        at, place = instant(t), axis.place(t)
        if at is not None:
            ticks.append(Tick(place, _label(at, step), _anchor(place)))
    return tuple(ticks)


def _label(at: dt.datetime, step_ms: int) -> str:
    if step_ms >= 100 * _DAY_MS:
        return f"{at:%b %Y}"
    day = f"{at.day} {at:%b}"
    if step_ms >= _DAY_MS:
        return day
    return day if (at.hour, at.minute) == (0, 0) else f"{at:%H:%M}"


def _anchor(place: float) -> str:
    if place > _NEAR_END:
        return "end"
    return "start" if place < _NEAR_START else "middle"
