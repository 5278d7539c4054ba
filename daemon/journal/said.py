"""What a sentence is made of: the fields of an entry, and how they are written.

Entries come from older versions and from files that a disk damaged. So a field may be missing or
of another type; then it is left out, and no reader of the journal fails.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from daemon.core.times import utc

_CLASSES: Final = 3
_WORD: Final = re.compile(r"[a-z]+(?!\w)")
_JOB: Final = re.compile(r"retrain \S+-\d{10,}-\d+ ")


class Said(NamedTuple):
    """One sentence; `severity` is `info`, `warning` or `critical`."""

    text: str
    severity: str = "info"


class Fields:
    """The fields of one entry, each read as a type that a sentence can use.

    Args:
        given: The fields as they were written.
        at_ms: When the entry was made, ms UTC.
    """

    def __init__(self, given: Mapping[str, Any], at_ms: int = 0) -> None:
        self._given, self.at_ms = given, at_ms

    def text(self, name: str, otherwise: str = "") -> str:
        """Return a text, or `otherwise` if it is missing or empty."""
        value = self._given.get(name)
        return value if isinstance(value, str) and value else otherwise

    def number(self, name: str) -> float | None:
        """Return a finite number; None if there is none."""
        value = self._given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return value if math.isfinite(value) else None

    def flag(self, name: str) -> bool:
        """Return whether a field is true."""
        return self._given.get(name) is True

    def tells(self, name: str) -> bool:
        """Return whether a field is there and not null."""
        return self._given.get(name) is not None

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; empty if there is none."""
        value = self._given.get(name)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return ()
        return tuple(each for each in value if isinstance(each, str))

    def shares(self, name: str) -> tuple[float, ...]:
        """Return the probabilities DOWN, NEUTRAL and UP; empty if there are none."""
        value = self._given.get(name)
        given = value if isinstance(value, Sequence) else ()
        found = tuple(p for p in given if isinstance(p, int | float) and math.isfinite(p))
        return found if len(found) == _CLASSES else ()

    def counts(self, name: str) -> dict[str, int]:
        """Return names and numbers; empty if there are none."""
        value = self._given.get(name)
        if not isinstance(value, Mapping):
            return {}
        return {str(k): n for k, n in value.items() if isinstance(n, int)}

    def time(self, name: str) -> str:
        """Return a time as `2026-01-31 23:59 UTC`; empty if there is none that can be written."""
        value = self.number(name)
        try:
            return "" if value is None else f"{utc(int(value))} UTC"
        except (ValueError, OverflowError, OSError):
            return ""

    def bot(self) -> str:
        """Return the name of the bot, for the middle of a sentence."""
        return f"bot {self.text('bot_id', '(unnamed)')}"


def sentence(text: str) -> str:
    """Return a text with a capital letter at its beginning and a full stop at its end.

    The name of a feature or of a model keeps its small letter.
    """
    text = text.strip()
    if not text:
        return ""
    if _WORD.match(text):
        text = text[0].upper() + text[1:]
    return text + ("" if text[-1] in ".!?" else ".")


def of_model(reason: str, *leads: str) -> str:
    """Return a reason without the word in front that says what kind of change it was."""
    for lead in leads:
        reason = reason.removeprefix(lead)
    return without_jobs(reason)


def without_jobs(text: str) -> str:
    """Return a text without the names of retrains, which say nothing to a person."""
    return _JOB.sub("a retrain ", text)


def listed(names: Sequence[str]) -> str:
    """Return `a, b and c`."""
    *most, last = names or ("",)
    return f"{', '.join(most)} and {last}" if most else last


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with the word in its right form, `1 bar` or `12 bars`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
