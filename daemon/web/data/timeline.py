"""Tell what happened to the versions of a slot, and why the live one is live, from the journal."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from daemon.core.times import utc
from daemon.journal.of_events import PROMOTED
from daemon.journal.said import Fields, plural, sentence
from daemon.journal.sentences import in_words
from daemon.store.journal_table import JournalEntry
from daemon.store.store import Store
from daemon.web.data.headlines import because, drifted, few
from daemon.web.views import GateLine, TimelineMark
from hyperdrift.slot_name import SlotName

_VERSIONS: Final = ("swapped", "rolled_back", "retrain_finished")
_WARNINGS: Final = ("drift", "alert")
_MARKS: Final[dict[str, Literal["live", "rolled_back", "drift", "alarm"]]] = {
    "swapped": "live",
    "rolled_back": "rolled_back",
    "drift": "drift",
    "alert": "alarm",
}
_MOST: Final = 100


class History(NamedTuple):
    """Entries of the journal about the versions of a slot, and its warnings; oldest first."""

    versions: list[JournalEntry]
    warnings: list[JournalEntry]

    @classmethod
    def read(cls, store: Store, slot: SlotName) -> "History":
        """Read the newest hundred of each; a flood of warnings pushes out no version."""
        found = (
            store.journal_newest(slot, kinds=kinds, limit=_MOST) for kinds in (_VERSIONS, _WARNINGS)
        )
        versions, warnings = (entries[::-1] for entries in found)
        return cls(versions, warnings)

    def timeline(self) -> tuple[TimelineMark, ...]:
        """Return every mark, oldest first; an alert that repeats a drift is left out."""
        entries = sorted([*self.versions, *self.warnings], key=lambda entry: entry.seq)
        return tuple(map(_mark, entries))

    def went_live(self, model_id: str) -> JournalEntry | None:
        """Return the newest entry that says that a version went live; None if none does."""
        lives = (e for e in reversed(self.versions) if e.kind in {"swapped", "rolled_back"})
        return next((e for e in lives if e.body.get("model_id") == model_id), None)

    def drift_before(self, seq: int, reason: str) -> JournalEntry | None:
        """Return the entry about the drift that a reason names; None if it names none."""
        known = [e for e in self.warnings if e.kind == "drift" and e.seq < seq]
        named = (e for e in reversed(known) if str(e.body.get("name")) in drifted(reason))
        return next(named, None)


def _mark(entry: JournalEntry) -> TimelineMark:
    passed = Fields(entry.body).flag("passed")
    kind = _MARKS.get(entry.kind) or ("trained" if passed else "refused")
    return TimelineMark(
        at_ms=entry.at_ms,
        kind=kind,
        text=in_words(entry).text,
        model_id=Fields(entry.body).text("model_id"),
        seq=entry.seq,
    )


def why_live(history: History, model_id: str | None, gates: Sequence[GateLine]) -> str:
    """Return why the live version is live, in one sentence; empty if nothing says so.

    Args:
        history: What the journal says.
        model_id: The live version, None if there is none.
        gates: The verdicts of its certificate.
    """
    live = history.went_live(model_id) if model_id else None
    if live is None:
        return ""
    of, when = Fields(live.body), f"on {utc(live.at_ms)} UTC"
    reason, previous = of.text("text").partition(" is live: ")[2], of.text("previous_id")
    if live.kind == "rolled_back":
        return sentence(
            f"it is live again since {utc(live.at_ms)} UTC: {reason.removeprefix('rollback: ')}"
        )
    if reason.startswith(PROMOTED):
        return sentence(f"an operator put it live by hand {when}: {reason.removeprefix(PROMOTED)}")
    what = f"it replaced {previous} {when}" if previous else f"it went live {when}"
    told = f"{what} {cause(history, live.seq, reason)}"
    return sentence("; ".join(filter(None, (told, _judged(gates)))))


def cause(history: History, seq: int, reason: str) -> str:
    """Return `because` and a reason; one that is a drift with what drifted, and the evidence.

    Args:
        history: What the journal says.
        seq: The entry that has the reason; the drift stands before it.
        reason: Why a retrain was started.
    """
    drift = history.drift_before(seq, reason)
    if drift is None:
        return because(reason)
    what, _, evidence = in_words(drift).text.removesuffix(".").partition(": ")
    what = what[:1].lower() + what[1:] if what[1:2].islower() else what
    names = [name for name in drifted(reason) if name != drift.body.get("name")]
    also = f", and {few(names)} drifted too" if names else ""
    return f"because {what} ({evidence}){also}" if evidence else f"because {what}"


def _judged(gates: Iterable[GateLine]) -> str:
    """Return what the gates said, and how much better than the one before it was."""
    gates = list(gates)
    passed = [gate for gate in gates if gate.passed]
    if not gates:
        return ""
    text = f"it passed {plural(len(passed), 'gate')}"
    if len(passed) < len(gates):
        text += f" of {len(gates)}"
    against = next((gate.value for gate in gates if gate.name == "beats_champion"), None)
    if against is None:
        return text
    return f"{text}, and its log loss was {abs(against):.2%} {'better' if against < 0 else 'worse'}"


def trained_because(store: Store, slot: SlotName, model_id: str) -> str:
    """Return why a version was trained, in one sentence; empty if the journal does not say."""
    history = History.read(store, slot)
    ended = next((e for e in history.versions if e.body.get("model_id") == model_id), None)
    if ended is None or not Fields(ended.body).text("job"):
        return ""
    starts = store.journal_newest(slot, kinds=("retrain_started",), before=ended.seq)
    began = next((e for e in starts if e.body.get("job") == ended.body["job"]), None)
    reason = Fields(began.body).text("text").partition(" started: ")[2] if began else ""
    return sentence(f"it was trained {cause(history, ended.seq, reason)}") if reason else ""
