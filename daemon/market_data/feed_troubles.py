"""Note the errors that stop bars: the venue's once for all slots, a slot's own for it alone."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from daemon.core.errors import CoinUnserved, SchemaChanged, VenueRefused
from daemon.core.slot_troubles import SlotTroubles
from hyperdrift.errors import HyperdriftError
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

# One answer that cannot be read may be a passing fault; this many are another protocol.
MISREADINGS: Final = 5

_BARS: Final = "bars"
_LATER: Final = "it is asked for again until it comes, and the other slots go on"


class Troubles:
    """Log errors that stop the bars: each kind once while it lasts, for all slots together.

    What the venue serves of one coin badly, while it answers about others, is a trouble of its
    slots instead.

    Args:
        of_slots: Takes the troubles of single slots.
        doubt: Called with a coin that the venue fails to answer about: it may not know it.
    """

    def __init__(
        self, of_slots: SlotTroubles | None = None, doubt: Callable[[str], None] = lambda _: None
    ) -> None:
        self._slots, self._doubt = of_slots or SlotTroubles(), doubt
        self._of: dict[tuple[SlotName, str], str] = {}
        self._own: dict[tuple[SlotName, str], str] = {}
        self._why: dict[tuple[SlotName, str], str] = {}
        self._misread: Counter[tuple[SlotName, str]] = Counter()

    def begin(self, slot: SlotName, error: HyperdriftError, work: str = _BARS) -> None:
        """Note that an error stops some work for a slot: its bars, its funding, its past."""
        key = slot, work
        self._why[key] = str(error)
        if isinstance(error, CoinUnserved):
            self._recover(key)  # the venue answers others
            self._doubt(slot.coin)
            self._begin_own(key, error.what, str(error))
            return
        kind = type(error).__name__
        if kind not in self._of.values():
            log.warning("feed.trouble", slot=str(slot), why=str(error))
        self._of[key] = kind
        if isinstance(error, SchemaChanged | VenueRefused):
            self._misread[key] += 1
            if self._misread[key] == MISREADINGS:
                self._begin_own(key, f"answers of {work}", str(error))

    def end(self, slot: SlotName, work: str = _BARS) -> None:
        """Note that the work for a slot is done again."""
        key = slot, work
        self._why.pop(key, None)
        self._misread.pop(key, None)
        self._recover(key)
        self._end_own(key)

    def forget(self, slot: SlotName) -> None:
        """Drop all errors of a slot whose coin the venue does not list, which says it all."""
        for (of, _), what in self._own.items():
            if of == slot:
                self._slots.forget(slot, what)
        self.remove(slot)

    def remove(self, slot: SlotName) -> None:
        """Drop all errors of a slot that is removed; its troubles end by `SlotTroubles.drop`."""
        for kept in (self._of, self._own, self._why, self._misread):
            for key in [key for key in kept if key[0] == slot]:
                del kept[key]

    def why(self, slot: SlotName) -> str:
        """Return what stops the bars of a slot at present; empty if nothing does."""
        return self._why.get((slot, _BARS), "")

    def _recover(self, key: tuple[SlotName, str]) -> None:
        if self._of.pop(key, None) and not self._of:
            log.info("feed.recovered", slot=str(key[0]))

    def _begin_own(self, key: tuple[SlotName, str], what: str, why: str) -> None:
        if self._own.get(key) != what:
            self._end_own(key)  # the work went on, and stops at something else now
        self._own[key] = what
        self._slots.begin(key[0], what, f"{why}; {_LATER}")

    def _end_own(self, key: tuple[SlotName, str]) -> None:
        """End a slot's own trouble of some work, unless other work of the slot has it too."""
        slot, what = key[0], self._own.pop(key, None)
        if what and not any(of == slot and it == what for (of, _), it in self._own.items()):
            self._slots.end(slot, what)
