"""Write times, durations and figures as people read them, each with its unit.

Every function takes null, and numbers that no measurement gives, because the page of a slot must
be shown whatever somebody published.
"""

import datetime as dt
import math
from typing import Final, TypeGuard
from urllib.parse import quote

from markupsafe import Markup

NONE: Final = "\N{EN DASH}"
"""Stands for what is not known."""
_MINUS: Final = "\N{MINUS SIGN}"  # as wide as a plus, so that columns of figures line up
_THIN: Final = " "  # the style sheet keeps a figure and its unit on one line
_LATEST_MS: Final = 253_402_300_799_999  # the last year that a date can have
_FIRST_MS: Final = 10**11  # in 1973; what is less is a duration
_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_TINY, _HUGE = 1e-4, 1e9  # beyond these a power of ten is easier to read
_LONGEST_PART: Final = 300  # characters of a name in an address
_MOST_VALUES: Final = 40
_DEEPEST: Final = 4
_DECIMALS_UNTIL_S: Final = 10
_TWO_UNITS_UNTIL: Final = 2  # `1 h 40 min`, but `5 h`


def instant(t: float | None) -> dt.datetime | None:
    """Return a time in ms UTC as a date; None if there is no such date."""
    if t is None or not 0 <= t <= _LATEST_MS:
        return None
    return dt.datetime.fromtimestamp(t / 1000, dt.UTC)


def day_and_time(t: float | None) -> str:
    """Return a time in ms UTC as `31 Jan 2026, 23:59`."""
    at = instant(t)
    return f"{at.day} {at:%b %Y, %H:%M}" if at else NONE


def trained_at(model_id: str) -> str:
    """Return when a version was trained, as its name says; the name itself if it does not."""
    try:
        at = dt.datetime.strptime(model_id[:15], "%Y%m%d_%H%M%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return model_id
    return f"{at.day} {at:%b %Y, %H:%M}"


def clock_time(t: float | None) -> str:
    """Return a time in ms UTC as `23:59:58`."""
    at = instant(t)
    return f"{at:%H:%M:%S}" if at else NONE


def time_element(t: float | None, text: str) -> Markup:
    """Return a text that stands for a time in ms UTC, as an element of HTML."""
    at = instant(t)
    if at is None:
        return Markup("<span>{}</span>").format(NONE)
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", exact, text
    )


def duration(seconds: float | None) -> str:
    """Return a duration in seconds as `40 s`, `3 min`, `1 h 20 min` or `4 d`."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if abs(seconds) < 1:
        return f"{abs(seconds) * 1000:.0f} ms"
    if abs(seconds) < _DECIMALS_UNTIL_S and seconds % 1:
        return f"{abs(seconds):.1f} s"
    whole = round(abs(seconds))
    unit, size = next(one for one in _UNITS if whole >= one[1])
    count, rest = divmod(whole, size)
    text = f"{_grouped(count)} {unit}"
    if count < _TWO_UNITS_UNTIL and size > 1:
        small, small_size = _UNITS[[one[0] for one in _UNITS].index(unit) + 1]
        if rest // small_size:
            text += f" {rest // small_size} {small}"
    return text


def relative(t: float | None, now_ms: int) -> str:
    """Return how far a time is from now, both ms UTC, as `3 min ago` or `in 2 h`."""
    if t is None or instant(t) is None:
        return NONE
    away_s = round((now_ms - t) / 1000)
    if not away_s:
        return "just now"
    return f"{duration(away_s)} ago" if away_s > 0 else f"in {duration(away_s)}"


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share, a fraction, as `54 %`."""
    return NONE if not _is_known(share) else f"{_figure(share * 100, digits)}{_THIN}%"


def signed(value: float | None, unit: str = "", digits: int = 1) -> str:
    """Return a figure with its sign and unit, as `+1.2 bp`."""
    if not _is_known(value):
        return NONE
    text = _figure(value, digits)
    plus = "" if text.startswith(_MINUS) or not text.strip("0.,") else "+"
    return f"{plus}{text}{_THIN}{unit}" if unit else plus + text


def number(value: float | None, digits: int = 0) -> str:
    """Return a figure with separated thousands, as `12,345`."""
    return _figure(value, digits) if _is_known(value) else NONE


def significant(value: object, digits: int = 4) -> str:
    """Return a figure of any size, with at most so many digits that mean something."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE if value is None else str(value)
    if isinstance(value, int) and abs(value) < 10**12:
        return _figure(value, 0)
    if not _is_known(value):
        return NONE
    if value and not _TINY <= abs(value) < _HUGE:
        return f"{value:.{digits}g}".replace("-", _MINUS)
    after = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = _figure(value, after)
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_text(value: object, depth: int = 0) -> str:
    """Return any value of JSON as text: a figure shortened, a list in one line."""
    if isinstance(value, list | tuple | dict) and depth > _DEEPEST:
        return "…"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(one, depth + 1) for one in value[:_MOST_VALUES]) or "none"
    if isinstance(value, dict):
        pairs = list(value.items())[:_MOST_VALUES]
        return ", ".join(f"{key}: {as_text(one, depth + 1)}" for key, one in pairs) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return significant(value)


def field(value: object, name: str) -> str:
    """Return the value of a field of the journal as text: a time as `2026-01-31 23:59:58 UTC`."""
    is_time = name == "t" or name.endswith(("_t", "_ms"))
    at = instant(value) if is_time and isinstance(value, int) and value > _FIRST_MS else None
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else as_text(value)


def path_part(text: str) -> str:
    """Return a text as one part of the path of an address."""
    return quote(text[:_LONGEST_PART], safe="", errors="replace")


def _is_known(value: float | None) -> TypeGuard[float]:
    try:
        return value is not None and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _figure(value: float, digits: int) -> str:
    if abs(value) >= 10**12:
        return f"{value:.3g}".replace("-", _MINUS)
    text = f"{value:,.{digits}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", _MINUS)


def _grouped(count: int) -> str:
    return f"{count:,}"
