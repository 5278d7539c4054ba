"""Follow the slots of a demo until each has been through a whole cycle, and sum it up."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from daemon.demo.event_log import EventLog, Tell
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName

INTERRUPTED: Final = "interrupted"
"""How a run ends that a person stops."""

_FIRST = frozenset({"", "first"})


class FleetLog:
    """The events of all slots; `changed` is set after each message.

    Args:
        slots: The slots.
        tell: Prints a line.
    """

    def __init__(self, slots: Sequence[SlotName], tell: Tell) -> None:
        self.changed = asyncio.Event()
        several = len(slots) > 1
        self.logs = tuple(
            EventLog(slot, Topics(), tell, changed=self.changed, several=several) for slot in slots
        )
        self.order: list[str] = []
        """The slots in the order of the verdicts after the first."""
        self._seen = dict.fromkeys(slots, 0)

    def look(self) -> None:
        """Note which verdicts have come since the last look."""
        for log in self.logs:
            new = log.retrains[self._seen[log.slot] :]
            self._seen[log.slot] = len(log.retrains)
            self.order += [str(log.slot) for retrain in new if retrain.trigger not in _FIRST]

    def first_models_are_done(self) -> bool:
        """Say whether every slot has its first model, or of several the verdict that refused it."""
        if len(self.logs) == 1:
            return bool(self.logs[0].swaps)
        return all(log.swaps or log.retrains for log in self.logs)

    def cycle_is_done(self) -> bool:
        """Say whether first models are done, and enough slots have swapped for a cause.

        A slot alone is done with its swap. Of several at least half have swapped: a gate may refuse
        what the others train, and in a market that changes some slot always retrains.
        """
        if not self.first_models_are_done():
            return False
        swapped = sum(has_swapped(log) for log in self.logs)
        return 2 * swapped >= len(self.logs)


def has_swapped(log: EventLog) -> bool:
    """Say whether a slot has swapped for a cause: drift, its win rate or a command."""
    return any(swap.trigger not in _FIRST for swap in log.swaps)


@dataclass(frozen=True, slots=True)
class DemoSlot:
    """What a run of the demo did with one slot."""

    slot: str
    log: EventLog
    models: tuple[dict[str, Any], ...]
    checked_bars: int
    store_equal: bool

    def document(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "slot": self.slot,
            "bars": self.log.bars,
            "predictions": self.log.predictions,
            "trades": self.log.trades,
            "retrains": [asdict(retrain) for retrain in self.log.retrains],
            "swaps": [asdict(swap) for swap in self.log.swaps],
            "models": list(self.models),
            "store": {"checked_bars": self.checked_bars, "equal_to_recording": self.store_equal},
        }


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """The result of a run of the demo.

    Attributes:
        ended: What ended it.
        until_swap: Whether it had to reach a whole cycle.
        slots: Each slot's part.
        order: The slots in the order of the verdicts after the first.
        elapsed_s: Wall seconds.
    """

    ended: str
    until_swap: bool
    slots: tuple[DemoSlot, ...]
    order: tuple[str, ...]
    elapsed_s: float

    @property
    def exit_code(self) -> int:
        """0 if the run reached its end, 130 if it was interrupted before, else 1."""
        if self.ended == INTERRUPTED and self.until_swap:
            return 130
        reached = self.ended == "swap" if self.until_swap else self.ended != "timeout"
        return 0 if reached else 1

    def document(self) -> dict[str, Any]:
        """Return the result for JSON; that of a slot alone has its fields at the top."""
        run = {"ended": self.ended, "elapsed_s": round(self.elapsed_s, 1)}
        if len(self.slots) == 1:
            return {**run, **self.slots[0].document()}
        documents = [slot.document() for slot in self.slots]
        return {**run, "order": list(self.order), "slots": documents}
