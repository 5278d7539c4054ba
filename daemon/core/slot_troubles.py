"""Keep what each slot lacks, so that its state, `status`, `doctor` and an alert say the same.

A trouble of one slot concerns no other: a coin that is delisted, whose candles the venue fails
to serve, or of which no bars come. It has a kind, so that it is told once when it begins and
once when it is over, however often it is noticed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hyperdrift.slot_name import SlotName

COIN_TROUBLE: Final = "coin"
"""Kind of the trouble that a slot's coin is delisted or unknown, so that no bars come."""


@dataclass(frozen=True, slots=True)
class TroubleChanged:
    """A trouble of a slot, of one `kind`, began or is over; `text` says which, and what to do."""

    text: str
    is_over: bool = False
    kind: str = ""


Tell = Callable[[SlotName, TroubleChanged], object]


class SlotTroubles:
    """The present troubles of all slots."""

    def __init__(self) -> None:
        self._of: dict[SlotName, dict[str, str]] = {}
        self._untold: list[tuple[SlotName, TroubleChanged]] = []
        self._tell: Tell | None = None

    def listen(self, tell: Tell) -> None:
        """Call `tell` for every change, those before this call included."""
        self._tell = tell
        untold, self._untold = self._untold, []
        for slot, change in untold:
            tell(slot, change)

    def begin(self, slot: SlotName, kind: str, text: str) -> None:
        """Note a trouble; it is told if the slot has none of this kind yet.

        Args:
            slot: The slot.
            kind: Any word; `end` takes the same.
            text: What is wrong and what to do, in one line; it replaces the one before.
        """
        of_slot = self._of.setdefault(slot, {})
        begins, of_slot[kind] = kind not in of_slot, text
        if begins:
            self._change(slot, TroubleChanged(text, kind=kind))

    def end(self, slot: SlotName, kind: str) -> None:
        """Note that a slot has no trouble of this kind; it is told if it had one."""
        text = self._of.get(slot, {}).pop(kind, None)
        if text is not None:
            self._change(slot, TroubleChanged(text, is_over=True, kind=kind))

    def has(self, slot: SlotName, kind: str) -> bool:
        """Return whether a slot has a trouble of a kind."""
        return kind in self._of.get(slot, {})

    def forget(self, slot: SlotName, kind: str) -> None:
        """Drop a trouble without a word, because a graver one of the slot says it all."""
        self._of.get(slot, {}).pop(kind, None)

    def drop(self, slot: SlotName) -> list[TroubleChanged]:
        """Forget a slot that was removed; return what ends by that, for whoever was told of it."""
        found = self._of.pop(slot, {}).items()
        self._untold = [(of, change) for of, change in self._untold if of != slot]
        return [TroubleChanged(text, is_over=True, kind=kind) for kind, text in found]

    def of(self, slot: SlotName) -> str:
        """Return all troubles of a slot in words, the oldest first; empty if it has none."""
        return "; ".join(self._of.get(slot, {}).values())

    def _change(self, slot: SlotName, change: TroubleChanged) -> None:
        if self._tell is None:
            self._untold.append((slot, change))
        else:
            self._tell(slot, change)
