"""See what is logged, by the daemon through structlog and by the client through the library."""

import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog.testing

from hyperdrift.logs import EVENT, FIELDS

Lines = list[MutableMapping[str, Any]]


@contextmanager
def capture_logs() -> Iterator[Lines]:
    """Collect the lines of both, in order, as structlog's own helper does."""
    with structlog.testing.capture_logs() as lines:
        handler, client = _Handler(lines), logging.getLogger("hyperdrift")
        before = client.level
        client.addHandler(handler)
        client.setLevel(logging.DEBUG)
        try:
            yield lines
        finally:
            client.removeHandler(handler)
            client.setLevel(before)


class _Handler(logging.Handler):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        line = {"event": getattr(record, EVENT), "log_level": record.levelname.lower()}
        self._lines.append(line | getattr(record, FIELDS))
