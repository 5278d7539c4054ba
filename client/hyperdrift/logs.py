"""Log events with fields through the standard library, and never raise.

A bot has its own log handlers. They may fail, for example on a closed stderr or a full disk.
Then the line is lost, and the bot still follows the daemon's swap orders.
"""

import contextlib
import logging
from typing import Any, Final

FIELDS: Final = "hyperdrift_fields"
"""Attribute of a log record with the fields of its event, for handlers that write JSON."""

EVENT: Final = "hyperdrift_event"
"""Attribute of a log record with the name of its event, for example `slot.swapped`."""


class EventLogger:
    """Writes `event key=value ...` to a logger of the standard library.

    Args:
        name: The name of that logger, below `hyperdrift`.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log what needs no attention."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what may need attention."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what needs attention."""
        self._log(logging.ERROR, event, fields)

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log an unexpected error with its traceback."""
        self._log(logging.ERROR, event, fields, error)

    def _log(
        self, level: int, event: str, fields: dict[str, Any], error: BaseException | None = None
    ) -> None:
        text = " ".join([event, *(f"{key}={value}" for key, value in fields.items())])
        text = text.encode(errors="backslashreplace").decode()  # half a character has no bytes
        # A handler of the bot may raise any error; it must not reach the caller.
        with contextlib.suppress(Exception):
            self._logger.log(
                level, "%s", text, exc_info=error, extra={EVENT: event, FIELDS: fields}
            )
