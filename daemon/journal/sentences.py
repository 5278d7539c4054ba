"""Say each entry of the journal in one plain sentence, for people who never read the code.

The pages, the terminal, notifications and the digest take their words from here, so the same
event has the same words everywhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from daemon.journal import of_events, of_published
from daemon.journal.line import JournalLine
from daemon.journal.said import Fields, Said, sentence
from daemon.store import journal_kinds
from daemon.store.journal_table import JournalEntry

_SENTENCES: Final = {**of_events.SENTENCES, **of_published.SENTENCES}

KINDS: Final = tuple(sorted(_SENTENCES, key=str.lower))
"""Every kind of entry that has words of its own."""

QUIET: Final = frozenset(
    (
        *(journal_kinds.SCORED, "Ticked", "TurnCame", "TurnAwaited", "JudgingBegan"),
        journal_kinds.TRADE_HEADER,
        *("ModelServed", "RetrainFinished", "RetrainFailed", "ChallengerJudged"),
        *("BotSpoke", "BotFellSilent", "FeaturesDiffered", "FeaturesAgreed"),
    )
)
"""Kinds that are left out unless somebody asks: scores, and what another entry tells as well."""

# `daemon.runtime.serving.BY_ITSELF`, which is slow to import.
_ITSELF: Final = "hyperdrift"
_NOT_OVER: Final = (" is running", " is under way", " waits for its turn")


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


class Repeats:
    """Finds the lines that only repeat what another one tells, in lines that come oldest first.

    An alert follows the event that it is about, with the same text. A live model, an accepted
    command and the wait for a running retrain are told by two entries each; the fuller one stays.
    """

    def __init__(self) -> None:
        self._texts: dict[str, Any] = {}
        self._moved: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}

    def drops(self, line: JournalLine) -> bool:
        """Return whether the next line tells nothing new."""
        slot, fields = line.slot, line.fields
        text = fields.get("text")
        before, self._texts[slot] = self._texts.get(slot), text
        match line.kind:
            case "alert":
                return text is not None and text == before
            case "decision":
                return isinstance(text, str) and _is_under_way(text)
            case "CommandReceived":
                self._asked[slot] = fields.get("request_id")
            case journal_kinds.COMMAND_ANSWERED:
                asked = self._asked.pop(slot, None)
                return fields.get("accepted") is True and fields.get("request_id") == asked
            case journal_kinds.POINTER_MOVED:
                by_itself = fields.get("by") == _ITSELF
                self._moved[slot] = None if by_itself else fields.get("model_id")
                return by_itself
            case "swapped" | "rolled_back":
                moved = self._moved.pop(slot, None)
                return moved is not None and fields.get("model_id") == moved
        return False


def without_repeats(lines: Iterable[JournalLine]) -> Iterator[JournalLine]:
    """Yield those lines, given oldest first, that tell something new."""
    repeats = Repeats()
    return (line for line in lines if not repeats.drops(line))


def _is_under_way(decision: str) -> bool:
    """Return whether a decision only says that what another entry tells is not over yet."""
    return decision.startswith("wait: ") and decision.endswith(_NOT_OVER)
