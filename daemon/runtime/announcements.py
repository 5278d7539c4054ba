"""Pass on everything that is told to listeners in this process: events, alerts and alarms.

A page that is open and a person's phone are told the same as the subscribers of MQTT, also while
there is no broker. A listener that fails must keep nothing from the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from daemon.core.log_once import LogOnce

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One thing that was told.

    Attributes:
        slot: Name of the slot; empty for the whole daemon.
        kind: Its kind, as in the reference of events.
        at_ms: When it happened, ms UTC of the venue.
        text: What happened, in words.
        severity: `info`, `warning` or `critical`.
        fields: What its kind has beside these.
        seq: Its entry in the journal; 0 if it has none yet.
    """

    slot: str
    kind: str
    at_ms: int
    text: str
    severity: str = "info"
    fields: dict[str, Any] = field(default_factory=dict)
    seq: int = 0

    @property
    def message(self) -> dict[str, Any]:
        """The message on the topic of events."""
        return {"kind": self.kind, "at_ms": self.at_ms, "text": self.text, **self.fields}


def announced(slot: str, message: Mapping[str, Any], seq: int = 0) -> Announcement:
    """Return what a message on the topic of events says; `slot` is empty for the whole daemon."""
    own = {"kind", "at_ms", "text"}
    return Announcement(
        slot=slot,
        kind=message["kind"],
        at_ms=message["at_ms"],
        text=message["text"],
        severity=str(message.get("severity", "info")),
        fields={key: value for key, value in message.items() if key not in own},
        seq=seq,
    )


Listener = Callable[[Announcement], object]


class Announcements:
    """Tells all listeners what happened, in the order in which they began to listen."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._failing = LogOnce()

    def listen(self, take: Listener) -> Callable[[], None]:
        """Call `take` for everything that is told from now on, on the event loop.

        Args:
            take: It must not block; an error of it is logged once.

        Returns:
            What ends it.
        """
        self._listeners.append(take)

        def unlisten() -> None:
            if take in self._listeners:
                self._listeners.remove(take)

        return unlisten

    def tell(self, announcement: Announcement) -> None:
        """Tell every listener."""
        for take in tuple(self._listeners):
            try:
                take(announcement)
            except Exception:
                if self._failing.begins(take):
                    log.exception("announcement.listener_failed", kind=announcement.kind)
