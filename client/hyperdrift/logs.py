"""Log lines as events with fields, by the standard library alone, and never a bot's end.

A bot's handlers are its own: they may fail, and its stderr may be closed or on a full disk.
What cannot be logged is lost; following the daemon's orders goes on.
"""

import contextlib
import logging
from typing import Any, Final

FIELDS: Final = "hyperdrift_fields"
"""Attribute of a record that holds the fields of its event, for handlers that keep them apart."""

EVENT: Final = "hyperdrift_event"
"""Attribute of a record that holds the name of its event, for example `slot.swapped`."""


class EventLogger:
    """Writes `event key=value ...` to a logger of the standard library.

    Args:
        name: Of that logger, below `hyperdrift`.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def info(self, event: str, **fields: Any) -> None:
        """Log what went well."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Log what somebody may have to look at."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Log what somebody has to look at."""
        self._log(logging.ERROR, event, fields)

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log an error that nobody expected, with its traceback."""
        self._log(logging.ERROR, event, fields, error)

    def _log(
        self, level: int, event: str, fields: dict[str, Any], error: BaseException | None = None
    ) -> None:
        text = " ".join([event, *(f"{key}={value}" for key, value in fields.items())])
        # A handler that is not ours may raise anything at all, and must not end the caller.
        with contextlib.suppress(Exception):
            self._logger.log(
                level, "%s", text, exc_info=error, extra={EVENT: event, FIELDS: fields}
            )
