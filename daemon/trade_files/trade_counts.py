"""Count what became of the trades of a bot: taken, of no slot, bad, too old.

Files and messages come from others, so names are cut and made printable, and only so many
different ones are kept.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

_NAMES: Final = 20
_LONGEST: Final = 60
_OTHERS: Final = "others"


class TradeCounts:
    """Counts since the start; of a file that is written anew, those of its present content.

    Attributes:
        taken: Trades that count, also those that were known from before the start.
        old: Trades that closed too long ago to count.
        no_slot: Coin or slot as the file names it -> trades of it that belong to no slot.
        bad: Why a record cannot be counted -> how many.
        others: What a record is that is no closed trade -> how many.
        first_bad: The first bad record and its reason, made printable.
        trouble: Why the file cannot be read at present; "" if it can.
    """

    def __init__(self) -> None:
        self.no_slot, self.bad, self.others = _Names(), _Names(), _Names()
        self.clear()

    def clear(self) -> None:
        """Begin again, for a file whose content is read again."""
        self.taken, self.old = 0, 0
        self.first_bad, self.trouble = "", ""
        for names in (self.no_slot, self.bad, self.others):
            names.clear()

    def add_bad(self, kind: str, record: str, why: str) -> bool:
        """Count a bad record; return whether it is the first of its kind."""
        if not self.first_bad:
            self.first_bad = f"{printable(record, 120)} ({printable(why, 160)})"
        return self.bad.add(kind) == 1

    def lines(self) -> list[str]:
        """Return a phrase for each count that is not 0."""
        found = [f"{self.taken} counted"]
        if self.old:
            found.append(f"{self.old} closed too long ago to count")
        found += [
            f"{count} trades of {name} belong to no slot" for name, count in self.no_slot.items()
        ]
        if self.bad:
            reasons = ", ".join(f"{kind}: {count}" for kind, count in self.bad.items())
            found.append(f"{sum(self.bad.values())} bad ({reasons}); the first is {self.first_bad}")
        if self.others:
            what = ", ".join(f"{count} {kind}" for kind, count in self.others.items())
            found.append(f"no closed trades: {what}")
        return found


class _Names(Counter[str]):
    """Counts by name, of at most so many different names."""

    def add(self, name: str, count: int = 1) -> int:
        """Count under a name, made printable; return its count."""
        name = printable(name, _LONGEST) or "none"
        if name not in self and len(self) >= _NAMES:
            name = _OTHERS
        self[name] += count
        return self[name]


def printable(text: str, longest: int) -> str:
    """Return a text of others without control characters, cut to `longest` characters."""
    cut = text[: longest + 1]
    shown = "".join(each if each.isprintable() else _escaped(each) for each in cut)
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def describe(counts: Mapping[str, int]) -> str:
    """Return counts by name as one phrase."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
