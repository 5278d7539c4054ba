"""Read and write times of people."""

import datetime as dt
import re
from typing import Final

from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
# A whole number above this is in milliseconds.
_LARGEST_S: Final = 10**11


def utc(t: int) -> str:
    """Return a time in ms UTC as `2026-01-31 23:59`."""
    return f"{dt.datetime.fromtimestamp(t / 1000, dt.UTC):%Y-%m-%d %H:%M}"


def moment(text: str, option: str, *, is_end: bool = False) -> int:
    """Read a time as people write it; return ms UTC.

    Args:
        text: `2026-01-31`, `2026-01-31 23:55`, ISO text with or without a zone, or a number of
            seconds or milliseconds since 1970. Without a zone it is UTC.
        option: The option that has it, for the error.
        is_end: Whether a day alone means its end.

    Raises:
        BadInput: If it is no such time.
    """
    text = text.strip()
    if text.isdecimal() and len(text) > len("20260131"):
        return int(text) if int(text) > _LARGEST_S else int(text) * 1000
    try:
        stamp = dt.datetime.fromisoformat(text)
    except ValueError as e:
        why = "write a time in UTC like 2026-01-31 or '2026-01-31 23:55'"
        raise BadInput(f"{option} {text!r}: {why}") from e
    t = round(stamp.replace(tzinfo=stamp.tzinfo or dt.UTC).timestamp() * 1000)
    return t + DAY_MS - 1 if is_end and _DAY.fullmatch(text) else t
