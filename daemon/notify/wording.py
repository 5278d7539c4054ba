"""Put what matters into words: a short first line, then what happened, why, and what to do."""

from collections import Counter
from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

from daemon.config.notify_times import local
from daemon.core.outside_text import printable
from daemon.notify.matters import TOPICS, Matter
from daemon.notify.notice import Notice, Weight

_TITLE_CHARS: Final = 60
_TEXT_CHARS: Final = 600
_LINE_CHARS: Final = 160
_LINES: Final = 9
_FEW: Final = 5
_NOTHING_TO_DO: Final = {"live", "back"}
_SLOTS: Final = 30
"""With these a message fits into what Discord takes, 2000 characters."""


class Wording:
    """Writes messages.

    Args:
        zone: The time zone of the times; None for the host's.
    """

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone

    def time(self, ms: int) -> str:
        """Return a time, ms UTC, for people."""
        return f"{local(ms, self._zone):%a %d %b %H:%M}"

    def message(self, matters: Sequence[Matter]) -> Notice:
        """Return the message about one slot, or about one topic of many slots."""
        slots = list(dict.fromkeys(matter.slot for matter in matters))
        if len(slots) > 1:
            return self._of_many(matters, slots)
        shown = _without_reasons(matters)
        matters = [one for one in matters if one in shown or one.topic != "needs"]
        titles = dict.fromkeys(TOPICS[matter.topic].title for matter in matters)
        title = f"{slots[0] or 'hyperdrift'}: {', '.join(titles)}"
        chars = max(_LINE_CHARS, _TEXT_CHARS // len(shown))
        lines = [_cut(matter.text, chars) for matter in shown[:_FEW]]
        if len(shown) > _FEW:
            lines.append(f"and {len(shown) - _FEW} more: `hyperdrift journal` has all")
        return self._finished(title, lines, matters)

    def summary(self, matters: Sequence[Matter], left_out: int) -> Notice:
        """Return one message about all that waited, with the number of those that had no room."""
        counts = Counter(TOPICS[matter.topic].title for matter in matters)
        counted = ", ".join(f"{title} ({n})" for title, n in counts.most_common())
        lines = [
            f"{self.time(matter.at_ms)} {matter.slot or 'hyperdrift'}: "
            f"{TOPICS[matter.topic].title}: {_cut(matter.text, _LINE_CHARS)}"
            for matter in sorted(matters, key=lambda one: (not one.critical, one.at_ms))[:_LINES]
        ]
        more = len(matters) - len(lines) + left_out
        if more:
            lines.append(f"and {more} more: `hyperdrift journal` has all")
        return Notice(
            title=_cut(f"{len(matters) + left_out} news: {counted}", _TITLE_CHARS),
            text="\n".join(lines),
            weight=_weight(matters),
        )

    def _of_many(self, matters: Sequence[Matter], slots: Sequence[str]) -> Notice:
        shown = matters[: _FEW if len(matters) <= _FEW else 1]
        lines = [f"{one.slot}: {_cut(one.text, _TEXT_CHARS // len(shown))}" for one in shown]
        if len(matters) > len(shown):
            named = ", ".join(slots[:_SLOTS]) + (", ..." if len(slots) > _SLOTS else "")
            lines = [named, *lines, f"and {len(matters) - len(shown)} more of the kind"]
        return self._finished(
            f"{len(slots)} slots: {TOPICS[matters[0].topic].title}", lines, matters
        )

    def _finished(self, title: str, lines: list[str], matters: Sequence[Matter]) -> Notice:
        """Add what to do and when it was."""
        topics = dict.fromkeys(matter.topic for matter in matters if TOPICS[matter.topic].advice)
        urgent = [topic for topic in topics if topic not in _NOTHING_TO_DO]
        lines += [TOPICS[topic].advice for topic in urgent or topics]
        lines.append(self.time(min(matter.at_ms for matter in matters)))
        return Notice(
            title=_cut(title, _TITLE_CHARS),
            text="\n".join(lines),
            weight=_weight(matters),
        )


def _without_reasons(matters: Sequence[Matter]) -> Sequence[Matter]:
    """Leave out what the text of another one says already: why a model went back."""
    texts = [matter.text for matter in matters]
    kept = [
        matter
        for i, matter in enumerate(matters)
        if not any(
            i != j and (matter.text.partition(" is ")[2] or matter.text) in text
            for j, text in enumerate(texts)
        )
    ]
    return kept or matters[:1]


def _weight(matters: Sequence[Matter]) -> Weight:
    if any(matter.critical for matter in matters):
        return "critical"
    calm = {"live", "over", "slots"}
    return "info" if all(matter.topic in calm for matter in matters) else "warning"


def _cut(text: str, limit: int) -> str:
    return printable(" ".join(text.split()), limit)
