"""One entry of the journal, as people read it."""

from typing import Any

import msgspec


class JournalLine(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the journal, in words.

    Attributes:
        seq: The number of the entry; a later one is greater.
        at_ms: When it happened.
        slot: The slot, empty for the whole daemon.
        kind: The kind of the entry, as in the reference of events.
        text: What happened, in one sentence.
        severity: `info`, `warning` or `critical`.
        fields: The entry as it was written.
    """

    seq: int
    at_ms: int
    slot: str
    kind: str
    text: str
    severity: str = "info"
    fields: dict[str, Any] = {}
