"""Read the journal for a person: what was asked for, in words, beside a running daemon or not."""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from daemon.config.schema import Config
from daemon.core.suggestions import did_you_mean
from daemon.core.times import moment, utc
from daemon.journal.line import JournalLine
from daemon.journal.sentences import KINDS, QUIET, Repeats, in_words
from daemon.store import journal_pages
from daemon.store.data_folder import open_store
from daemon.store.database import StoreUnavailable
from daemon.store.journal_kinds import SCORED
from daemon.store.journal_table import JournalEntry
from daemon.store.store import Store
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

ALL: Final = "all"
NEWEST: Final = 100
"""Lines that are shown if nobody says how many."""
MOST: Final = 10_000
"""Lines that are shown of a time that somebody named."""

_POLL_S: Final = 1.0
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?) *([smhdw])")
_UNIT_MS: Final = {
    "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class JournalFilter:
    """What of the journal somebody wants to read.

    Attributes:
        slot: Only this slot's; None is all.
        kinds: Only these; None is all but those that say nothing new.
        since_ms: Only those at this time or later, ms UTC; None is from the beginning.
        limit: At most so many lines, the newest.
    """

    slot: SlotName | None = None
    kinds: frozenset[str] | None = None
    since_ms: int | None = None
    limit: int = NEWEST

    def takes(self, line: JournalLine) -> bool:
        """Return whether a line is wanted, whatever its time."""
        if self.slot is not None and line.slot != str(self.slot):
            return False
        return line.kind not in QUIET if self.kinds is None else line.kind in self.kinds


class FoundLines(NamedTuple):
    """Lines, the oldest first; whether older ones were left out; where to go on."""

    lines: list[JournalLine]
    is_cut: bool
    seq: int


def ago(text: str, now_ms: int) -> int:
    """Read since when; return ms UTC.

    Args:
        text: How long ago (`90s`, `2h`, `3d`, `1w`), or a time as `moment` reads it.
        now_ms: The present, ms UTC.

    Raises:
        BadInput: If it is neither.
    """
    if found := _AGO.fullmatch(text.strip().lower()):
        return now_ms - round(float(found[1]) * _UNIT_MS[found[2]])
    try:
        return moment(text, "--since")
    except BadInput as e:
        why = "write how long ago, like 2h or 3d, or a time in UTC like 2026-01-31"
        raise BadInput(f"--since {text!r}: {why}") from e


def known_slot(config: Config, store: Store, text: str) -> SlotName:
    """Return the slot of a name that is configured or that the journal has.

    Raises:
        BadInput: If there is none, with the one that was probably meant.
    """
    configured = [str(section.name) for section in config.slots]
    name = next((each for each in configured if each.lower() == text.lower()), text)
    if name in configured:
        return SlotName.parse(name)
    otherwise = f"there is {', '.join(configured[:5])}"
    hint = did_you_mean(text, configured, otherwise)
    try:
        slot = SlotName.parse(text)
    except BadInput as e:
        raise BadInput(f"{e}; {hint}") from e
    if not store.journal_newest(slot, limit=1):
        raise BadInput(f"--slot {text!r}: the journal has no such slot; {hint}")
    return slot


def known_kinds(store: Store, texts: Collection[str]) -> frozenset[str] | None:
    """Return the kinds of these names, None if there are no names.

    Raises:
        BadInput: If one is no kind of entry, with the one that was probably meant.
    """
    if not texts:
        return None
    known = {kind: kind for kind in (*KINDS, *journal_pages.kinds_of(store.database, None))}
    if ALL in texts:
        return frozenset(known)
    by_lower = {kind.lower(): kind for kind in reversed(known)}
    found = []
    for text in texts:
        kind = known.get(text) or by_lower.get(text.lower())
        if kind is None:
            otherwise = f"`{ALL}` shows every kind, {', '.join(KINDS[:4])} and more"
            hint = did_you_mean(text, known, otherwise)
            raise BadInput(f"--kind {text!r}: there is no such kind of entry; {hint}")
        found.append(kind)
    return frozenset(found)


def newest(store: Store, wanted: JournalFilter) -> FoundLines:
    """Return the newest lines that are wanted."""
    seq = journal_pages.newest_seq(store.database)
    kinds: Iterable[str] | None = wanted.kinds
    if kinds is None:
        kinds = set(journal_pages.kinds_of(store.database, wanted.slot)) - QUIET
    found: list[JournalLine] = []  # the newest first
    shown: list[JournalLine] = []
    while len(shown) <= wanted.limit:
        page = store.journal_newest(
            wanted.slot,
            kinds=sorted(kinds),
            since_ms=wanted.since_ms,
            before=found[-1].seq if found else None,
        )
        found += map(in_words, page)
        if not page:
            break
        shown = _without_repeats(found[::-1], wanted)
    is_cut = len(shown) > wanted.limit
    kept = shown[len(shown) - wanted.limit :] if is_cut else shown
    return FoundLines(kept, is_cut, max(seq, found[0].seq if found else 0))


def _without_repeats(lines: list[JournalLine], wanted: JournalFilter) -> list[JournalLine]:
    """Return lines, the oldest first, without repeats unless somebody named the kinds."""
    repeats = Repeats()
    return [line for line in lines if not repeats.drops(line) or wanted.kinds is not None]


def _after(store: Store, wanted: JournalFilter, seq: int) -> Iterable[JournalEntry]:
    """Return the entries after one, without scores if these are not wanted."""
    kinds = wanted.kinds
    if kinds is None:
        kinds = frozenset(journal_pages.kinds_of(store.database, wanted.slot)) - {SCORED}
    return store.journal(wanted.slot, after_seq=seq, kinds=kinds)


def note(store: Store, wanted: JournalFilter, found: FoundLines) -> str:
    """Return what a person should know of the lines that were found; "" if they are all."""
    if found.is_cut and (wanted.limit != NEWEST or wanted.since_ms is not None):
        return f"older entries are left out: these are the newest {wanted.limit:,} (--limit)"
    if found.lines:
        return ""
    newest = store.journal_newest(wanted.slot, limit=1)
    if not newest:
        return "nothing is in the journal yet"
    return f"nothing of that is in the journal; its newest entry is of {utc(newest[0].at_ms)} UTC"


async def follow(
    config: Config,
    wanted: JournalFilter,
    after_seq: int,
    clock: Clock,
    show: Callable[[JournalLine], None],
) -> None:
    """Show each new line that is wanted, within about a second, until cancelled.

    The store is opened anew each time: a daemon that starts may replace a damaged one.

    Args:
        config: Names the store.
        wanted: What to show.
        after_seq: The last entry that was seen.
        clock: Waits.
        show: Called with each line.
    """
    repeats = Repeats()
    while True:
        await clock.sleep(_POLL_S)
        try:
            with open_store(config.data_dir, read_only=True) as store:
                seen = journal_pages.newest_seq(store.database)
                after_seq = min(after_seq, seen)  # of a store that was replaced it is less
                new = [in_words(each) for each in _after(store, wanted, after_seq)]
        except (StoreUnavailable, BadInput):
            continue  # it is being written or replaced just now
        after_seq = max(after_seq, seen, *(line.seq for line in new))
        for line in new:
            drops = repeats.drops(line) and wanted.kinds is None
            if wanted.takes(line) and not drops:
                show(line)
