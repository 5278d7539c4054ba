"""Read what others publish: a message that cannot be read is said once, and stops nothing."""

from typing import TypeVar

import msgspec
import structlog

log = structlog.get_logger()
T = TypeVar("T")


class PayloadReader:
    """Decodes JSON payloads; logs the first malformed one of each topic until one is well."""

    def __init__(self) -> None:
        self._malformed: set[str] = set()

    def read(self, topic: str, payload: bytes, kind: type[T]) -> T | None:
        """Return the message, None if it is not one."""
        try:
            message = msgspec.json.decode(payload, type=kind)
        except msgspec.MsgspecError as e:
            if topic not in self._malformed:
                log.warning("bus.malformed", topic=topic, why=str(e))
            self._malformed.add(topic)
            return None
        self._malformed.discard(topic)
        return message
