"""Filter and sort the long tables as the query of the address asks, so that no script is needed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from daemon.web.pages.words import URGENCIES
from daemon.web.views import FeedLine, SlotSummary

CARDS: Final = 12
"""Up to so many slots have a card each; more are a table."""

FEED_COLUMNS: Final[dict[str, Callable[[FeedLine], Any]]] = {
    "slot": lambda line: line.slot,
    "newest": lambda line: line.last_bar_t or 0,
    "lag": lambda line: line.lag_ms or 0,
    "confirmed": lambda line: line.feed.confirmed,
    "provisional": lambda line: line.feed.provisional,
    "filled": lambda line: line.feed.filled,
    "revised": lambda line: line.feed.revised,
    "refused": lambda line: line.feed.refused,
    "gaps": lambda line: line.feed.gaps,
}
"""What the table of the feed can be sorted by."""


def chosen_slots(slots: Sequence[SlotSummary], query: Mapping[str, str]) -> list[SlotSummary]:
    """Return the slots that the query asks for: `q` in their words, of one `urgency`."""
    wanted, urgency = query.get("q", "").strip().casefold(), query.get("urgency", "")
    return [
        slot
        for slot in slots
        if (not urgency or slot.urgency == urgency)
        and wanted in f"{slot.slot}\n{slot.headline}\n{slot.needs}".casefold()
    ]


def urgency_counts(slots: Sequence[SlotSummary]) -> dict[str, int]:
    """Return how many slots there are of each urgency that occurs, the most urgent first."""
    found = [slot.urgency for slot in slots]
    return {name: found.count(name) for name in reversed(URGENCIES) if name in found}


def sorted_feed(lines: Sequence[FeedLine], query: Mapping[str, str]) -> list[FeedLine]:
    """Return the slots as `sort` and `order` of the query ask; else those in trouble first."""
    wanted = query.get("q", "").strip().casefold()
    found = [line for line in lines if wanted in f"{line.slot}\n{line.trouble}".casefold()]
    key = FEED_COLUMNS.get(query.get("sort", ""))
    if key is None:
        return sorted(found, key=lambda line: (not line.trouble, line.slot))
    return sorted(found, key=key, reverse=query.get("order") == "down")


def sort_link(column: str, query: Mapping[str, str]) -> str:
    """Return the query that sorts by a column; once more, and it sorts the other way round."""
    # The greatest of a figure is what one looks for first, a name from its beginning.
    first, second = ("up", "down") if column == "slot" else ("down", "up")
    again = query.get("sort") == column and query.get("order") == first
    return with_query(query, sort=column, order=second if again else first)


def with_query(query: Mapping[str, str], **changes: str | int | None) -> str:
    """Return a query with other values; null and empty ones are left out."""
    merged = {**query, **changes}
    kept = {key: str(value) for key, value in merged.items() if value not in {None, ""}}
    return "?" + urlencode(kept, errors="replace")
