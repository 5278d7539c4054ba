"""Collect the actions that follow from one event, in order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from monitor.actions import Action, Alert, Publish, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """An event to publish: kind, text and fields; `alert` if a person has to know it."""

    kind: str
    text: str
    fields: dict[str, object]
    alert: bool = False


class Outbox:
    """Collects actions and fills in their slot and time.

    Args:
        slot: Whose actions they are.
    """

    def __init__(self, slot: str) -> None:
        self._slot, self._at_ms = slot, 0
        self._actions: list[Action] = []
        self.decision = ""

    def open(self, at_ms: int) -> None:
        """Begin an empty list of actions, at the time of an event."""
        self._at_ms, self._actions = at_ms, []

    def taken(self) -> tuple[Action, ...]:
        """Return what was collected since `open`."""
        return tuple(self._actions)

    def order(self, action: type[Action], **fields: Any) -> None:
        """Add an action; slot and time are filled in."""
        self._actions.append(action(slot=self._slot, at_ms=self._at_ms, **fields))

    def publish(self, kind: str, text: str, **fields: object) -> None:
        """Add an event for the bus and the journal."""
        self.order(Publish, kind=kind, text=text, fields=fields)

    def alert(self, severity: Severity, text: str) -> None:
        """Add a message to a person."""
        self.order(Alert, severity=severity, text=text)

    def tell(self, found: Iterable[Finding]) -> None:
        """Add an event for each finding, and a warning where a person has to know it."""
        for finding in found:
            self.publish(finding.kind, finding.text, **finding.fields)
            if finding.alert:
                self.alert("warning", finding.text)

    def decide(self, text: str, **fields: object) -> None:
        """Add a decision, unless it equals the last one."""
        if text != self.decision:
            self.decision = text
            self.publish("decision", text, **fields)
