"""Say each entry of the journal in one plain sentence, for people who never read the code.

The pages, the terminal, notifications and the digest take their words from here, so the same
event has the same words everywhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from daemon.journal import of_events, of_published
from daemon.journal.line import JournalLine
from daemon.journal.said import Fields, Said, sentence
from daemon.store.journal_kinds import POINTER_MOVED, SCORED, TRADE_HEADER
from daemon.store.journal_table import JournalEntry

_SENTENCES: Final = {**of_events.SENTENCES, **of_published.SENTENCES}

KINDS: Final = tuple(sorted(_SENTENCES, key=str.lower))
"""Every kind of entry that has words of its own."""

QUIET: Final = frozenset(
    (
        *(SCORED, "Ticked", "JudgingBegan", TRADE_HEADER),
        *("ModelServed", "RetrainFinished", "RetrainFailed", "ChallengerJudged"),
        *("BotFellSilent", "FeaturesDiffered", "FeaturesAgreed"),
    )
)
"""Kinds that are left out unless somebody asks: scores, and what another entry tells as well."""

# `daemon.runtime.serving.BY_ITSELF`, which is slow to import.
_ITSELF: Final = "hyperdrift"


def in_words(entry: JournalEntry) -> JournalLine:
    """Return an entry as people read it; one of an unknown kind has a sentence too."""
    said = say(entry.kind, entry.body, entry.at_ms)
    return JournalLine(
        seq=entry.seq,
        at_ms=entry.at_ms,
        slot="" if entry.slot is None else str(entry.slot),
        kind=entry.kind,
        text=said.text,
        severity=said.severity,
        fields=entry.body,
    )


def say(kind: str, fields: Mapping[str, Any], at_ms: int = 0) -> Said:
    """Return the sentence and the severity of what was journalled or published.

    Args:
        kind: Its kind.
        fields: Its fields, `text` among them if it has one. They may be of an older version.
        at_ms: When it was, ms UTC.
    """
    of = Fields(fields, at_ms)
    said = _SENTENCES[kind](of) if kind in _SENTENCES else _unknown(kind, of)
    text = said.text if said.text.strip() else f"an entry of the kind {kind}"
    return Said(sentence(text), said.severity)


def _unknown(kind: str, of: Fields) -> Said:
    severity = of.text("severity", "info")
    known = severity if severity in {"info", "warning", "critical"} else "info"
    return Said(of.text("text") or f"an entry of the kind {kind}", known)


def without_repeats(lines: Iterable[JournalLine]) -> Iterator[JournalLine]:
    """Yield lines, oldest first, without those that only repeat what another one tells.

    An alert follows the event that it is about, with the same text. A move of the pointer that
    the daemon made itself is told as the new live model.
    """
    told: dict[str, Any] = {}
    for line in lines:
        text = line.fields.get("text")
        repeats = line.kind == "alert" and text is not None and told.get(line.slot) == text
        if not repeats and not (line.kind == POINTER_MOVED and line.fields.get("by") == _ITSELF):
            yield line
        told[line.slot] = text
