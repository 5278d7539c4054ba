"""Notice another daemon on the same broker and prefix.

Two daemons there give the bots orders in turn, and each answers commands for the other. Each
run has an instance id in its status, so it knows its own messages. What a broker kept of an
earlier run is no sign of life: a daemon that lives says so every ten seconds.
"""

import os
import secrets
import socket
from typing import Any, Final

import structlog

from daemon.core.log_once import LogOnce
from daemon.mqtt.messages import DaemonStatus, PayloadReader
from hyperdrift.clock import Clock
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.topics import Topics

# So long after its last word another daemon counts as gone.
GONE_S: Final = 35.0
# One word may be the last one of the process that ran here before.
_WORDS: Final = 2

log = structlog.get_logger()


class OtherDaemons:
    """Listens for the status of other daemons.

    Args:
        own: The status that this daemon publishes; it has its instance id.
        bus: The connection to the broker; it is subscribed here.
        topics: Gives the names of the topics.
        clock: Real time.
    """

    def __init__(
        self,
        own: DaemonStatus,
        bus: MqttConnection,
        topics: Topics,
        clock: Clock,
    ) -> None:
        self._own, self._prefix, self._clock = own, topics.prefix, clock
        self._payloads, self._told = PayloadReader(), LogOnce()
        self._heard_s: float | None = None
        self._words, self._text = 0, ""
        bus.subscribe(topics.status, self._take)

    def trouble(self) -> str:
        """Return which other daemon is there, and what to do; empty if there is none."""
        if self._heard_s is not None and self._clock.monotonic() - self._heard_s > GONE_S:
            self._heard_s, self._words, self._text = None, 0, ""
            if self._told.ends():
                log.info("daemon.alone", prefix=self._prefix)
        return self._text

    def _take(self, topic: str, payload: bytes, retained: bool) -> None:  # noqa: FBT001 - Handler
        status = self._payloads.read(topic, payload, DaemonStatus)
        if retained or status is None or status.state != "online":
            return
        if status.instance in {"", self._own.instance}:
            return
        self._heard_s, self._words = self._clock.monotonic(), self._words + 1
        if self._words < _WORDS:
            return
        where = f"on {status.host}, process {status.pid}"
        self._text = (
            f"another daemon ({where}) uses this broker with prefix {self._prefix!r}: stop one "
            "of them, or give it another mqtt.prefix"
        )
        if self._told.begins():
            log.critical("daemon.not_alone", host=status.host, pid=status.pid, why=self._text)


def identity() -> dict[str, Any]:
    """Return the fields of a status that name this run, its host and its process."""
    return {"instance": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid()}
