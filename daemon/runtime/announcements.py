"""Pass on what is told to listeners in this process: events, alerts, alarms, and answers.

A page that is open and a person's phone are told the same as the subscribers of MQTT, also while
there is no broker. A listener that fails must keep nothing from the others.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from daemon.core.log_once import LogOnce
from daemon.mqtt.messages import CommandReply

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
    """Tells all listeners what happened, in the order in which they began to listen.

    An answer to a command is for the one who waits for it.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._awaited: dict[str, asyncio.Future[CommandReply]] = {}
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

    def answer_to(self, request_id: str) -> asyncio.Future[CommandReply]:
        """Return the answer to come to a command; whoever waits no longer cancels it."""
        answer = asyncio.get_running_loop().create_future()
        self._awaited[request_id] = answer
        answer.add_done_callback(lambda _: self._awaited.pop(request_id, None))
        return answer

    def answered(self, reply: CommandReply) -> None:
        """Hand an answer to who waits for it in this process, if anybody does."""
        answer = self._awaited.get(reply.request_id)
        if answer is not None and not answer.done():
            answer.set_result(reply)
