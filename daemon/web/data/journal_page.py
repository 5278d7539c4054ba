"""A page of the journal in words, newest entry first."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import msgspec

from daemon.journal.line import JournalLine
from daemon.journal.sentences import QUIET, in_words, without_repeats
from daemon.store.journal_kinds import SCORED
from daemon.store.journal_pages import kinds_of
from daemon.store.journal_table import JournalEntry
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

_LONGEST_TEXT: Final = 10_000


class JournalPage(NamedTuple):
    """Entries, newest first; the kinds that the journal has; `seq` of what is older, if any is."""

    entries: list[JournalEntry]
    kinds: tuple[str, ...]
    older: int | None
    is_chosen: bool

    @classmethod
    def read(
        cls,
        store: Store,
        slot: SlotName | None,
        kinds: Collection[str] = (),
        *,
        since_ms: int | None = None,
        before: int | None = None,
        limit: int,
    ) -> "JournalPage":
        """Read a page.

        Args:
            store: Holds the journal.
            slot: Only of this slot; None is all, and the daemon itself.
            kinds: Only of these; none given is all that says something new to a person.
            since_ms: Only from this time on, ms UTC.
            before: Only entries with a smaller number.
            limit: At most so many, 1 to 200.
        """
        known = kinds_of(store.database, slot)
        wanted = kinds or [kind for kind in known if kind not in QUIET]
        entries = store.journal_newest(
            slot, kinds=wanted, since_ms=since_ms, before=before, limit=limit
        )
        older = entries[-1].seq if len(entries) >= limit else None
        return cls(entries, tuple(sorted({*known, SCORED}, key=str.lower)), older, bool(kinds))

    def lines(self) -> tuple[JournalLine, ...]:
        """Return the entries in words; without repeats unless their kinds were asked for."""
        told = [in_words(entry) for entry in self.entries]
        if not self.is_chosen:
            told = list(without_repeats(told[::-1]))[::-1]
        return tuple(msgspec.structs.replace(line, fields=_cut(line.fields)) for line in told)


def _cut(fields: dict[str, Any]) -> dict[str, Any]:
    """Cut texts that no person reads, such as a calibration of a hundred kilobytes."""
    return {
        name: value[:_LONGEST_TEXT] + "…"
        if isinstance(value, str) and len(value) > _LONGEST_TEXT
        else value
        for name, value in fields.items()
    }
