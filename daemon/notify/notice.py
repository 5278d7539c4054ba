"""What is sent: a first line that a watch shows, and the rest."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

_SHOWN: Final = 6
_CHARS: Final = 240

Weight = Literal["info", "warning", "critical"]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message.

    Attributes:
        title: The first line, short.
        text: What happened, why, and what to do, with slot and time.
        weight: How urgent it is.
        at_ms: When it was written, ms UTC; it goes out of date a day later.
        picture: A PNG that goes with it; none if empty. It does not outlive the process.
    """

    title: str
    text: str
    weight: Weight = "info"
    at_ms: int = 0
    picture: bytes = b""


def merged(messages: Sequence[Notice]) -> Notice:
    """Return one message instead of several that could not be sent when they were written."""
    if len(messages) == 1:
        return messages[0]
    shown = messages[-_SHOWN:]
    lines = [f"{one.title}\n{one.text[:_CHARS]}" for one in shown]
    if more := len(messages) - len(shown):
        lines.insert(0, f"{more} older ones are left out: `hyperdrift journal` has all")
    weights: tuple[Weight, ...] = ("critical", "warning", "info")
    return Notice(
        title=f"{len(messages)} messages that could not be sent before",
        text="\n\n".join(lines),
        weight=next(one for one in weights if any(m.weight == one for m in messages)),
        at_ms=messages[-1].at_ms,
        picture=messages[-1].picture,
    )
