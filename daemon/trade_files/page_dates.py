"""Read the dates of the venue's web page, which are written as the browser's language has them.

`06/01/2025 - 17:38:42` is June or January. One file has one order, so the whole column tells:
by a day above 12, else by the order of its rows.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

# The year first leaves no doubt: it is rewritten as ISO 8601.
_YEAR_FIRST: Final = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})[ ,T-]+(\d{1,2}:.+)")
_DATE: Final = re.compile(
    r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})[ ,-]+(\d[\d:.]*)\s*([AaPp])?\.?[Mm]?\.?"
)


def is_page_date(text: object) -> bool:
    """Return whether a text is a date whose order of day and month another row must tell."""
    return isinstance(text, str) and _DATE.fullmatch(text.strip()) is not None


def plain(text: object) -> object:
    """Return a date that has its year first as ISO 8601, and anything else as it is."""
    if not isinstance(text, str) or not (found := _YEAR_FIRST.fullmatch(text.strip())):
        return text
    year, month, day, clock = found.groups()
    return f"{year}-{month:0>2}-{day:0>2}T{clock if clock[1] != ':' else f'0{clock}'}"


def day_first(texts: Sequence[str], now_ms: int) -> bool | None:
    """Return whether the dates of a column have the day first; None if that is not certain.

    Args:
        texts: The column, as it is written.
        now_ms: The present time, ms UTC; nothing was traded later.
    """
    fits = [order for order in (True, False) if _fits(texts, now_ms, day_first=order)]
    if len(fits) > 1:
        if [read(text, day_first=True) for text in texts] == [
            read(text, day_first=False) for text in texts
        ]:
            return True
        fits = [order for order in fits if _is_sorted(texts, day_first=order)]
    return fits[0] if len(fits) == 1 else None


def read(text: str, *, day_first: bool) -> int | None:
    """Return a date as ms UTC, None if it is none; without a zone it is UTC."""
    if not (found := _DATE.fullmatch(text.strip())):
        return None
    day, month = (found[1], found[3]) if day_first else (found[3], found[1])
    hour, *rest = found[5].split(":")
    if half := found[6]:
        hour = str(int(hour) % 12 + 12 * (half in "pP"))
    try:
        clock = ":".join([hour.zfill(2), *(rest or ["00"])])
        at = datetime.fromisoformat(f"{found[4]}-{month.zfill(2)}-{day.zfill(2)}T{clock}")
    except ValueError:
        return None
    return round(at.replace(tzinfo=UTC).timestamp() * 1000)


def _fits(texts: Sequence[str], now_ms: int, *, day_first: bool) -> bool:
    times = [read(text, day_first=day_first) for text in texts]
    # The page shows the browser's zone, which may be ahead of UTC by 14 hours.
    return all(at is not None and at <= now_ms + 14 * 3_600_000 for at in times)


def _is_sorted(texts: Sequence[str], *, day_first: bool) -> bool:
    times = [read(text, day_first=day_first) or 0 for text in texts]
    return times in (sorted(times), sorted(times, reverse=True))
