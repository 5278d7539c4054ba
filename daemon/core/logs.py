"""Log lines: for people on a terminal, JSON elsewhere, with a priority for journald.

Log lines go to stderr, because a command prints its result to stdout. Of each kind, fifty lines
pass at once and then one a second, so that other lines stay in the log. The next line then says
how many were left out.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.core.outside_text import escaped, printable
from hyperdrift.clock import Clock, SystemClock
from hyperdrift.logs import EVENT, FIELDS

# Syslog's numbers. The service manager reads the prefix of a line and removes it.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_BURST: Final = 50.0
_LINES_A_SECOND: Final = 1.0
LONGEST_TEXT: Final = 4000
"""Most characters of one field of a line."""


def configure(level: int = logging.INFO, environ: Mapping[str, str] | None = None) -> None:
    """Set up logging for this process.

    Args:
        level: Lines below this level are not written.
        environ: Holds `JOURNAL_STREAM` if journald reads; the process environment by default.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            StormLimit(SystemClock()),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            shown,
            _renderer(sys.stderr, os.environ if environ is None else environ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryHandler()])
    logging.getLogger("hyperdrift").setLevel(level)


class _LibraryHandler(logging.Handler):
    """Writes what libraries log in the form of our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        ours, fields = structlog.get_logger(), getattr(record, FIELDS, None)
        if fields is not None:  # from the client, which logs an event with fields
            ours.log(record.levelno, getattr(record, EVENT), **fields, exc_info=record.exc_info)
            return
        ours.log(
            record.levelno,
            f"library.{record.name}",
            text=record.getMessage(),
            exc_info=record.exc_info,
        )


class StormLimit:
    """Passes fifty lines of a kind at once, then one a second; passes every critical line.

    Lines are of one kind if event, slot and `kind` are equal. After some lines were left out,
    the next one has their number in the field `left_out`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[object, ...], tuple[float, float, int]] = {}

    def __call__(self, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
        """Let a line pass, or drop it."""
        key, now_s = (
            (line.get("event"), line.get("slot"), line.get("kind")),
            self._clock.monotonic(),
        )
        left, since_s, missing = self._buckets.get(key, (_BURST, now_s, 0))
        left = min(_BURST, left + (now_s - since_s) * _LINES_A_SECOND)
        if left < 1 and line.get("level") != "critical":
            self._buckets[key] = (left, now_s, missing + 1)
            raise structlog.DropEvent
        self._buckets[key] = (max(0.0, left - 1), now_s, 0)
        return {**line, "left_out": missing} if missing else line


def shown(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """Cut the long texts of a line, and escape what a terminal would obey.

    Part of a line may come from other programs. A line break of ours stays.
    """
    return {
        key: "\n".join(printable(part, LONGEST_TEXT) for part in value[:LONGEST_TEXT].split("\n"))
        if isinstance(value, str)
        else value
        for key, value in line.items()
    }


def mark(level: str, stream: TextIO, environ: Mapping[str, str] | None = None) -> str:
    """Return the prefix with a line's priority for journald; "" if the stream is not journald's."""
    to_journal = _is_journal(stream, os.environ if environ is None else environ)
    return f"<{_PRIORITIES.get(level, 6)}>" if to_journal else ""


def _renderer(stream: TextIO, environ: Mapping[str, str]) -> Processor:
    if stream.isatty():
        return _for_people
    render = structlog.processors.JSONRenderer()

    def as_json(logger: WrappedLogger, method: str, line: EventDict) -> str:
        whole = structlog.processors.format_exc_info(logger, method, line)
        level = str(line.get("level"))
        return f"{mark(level, stream, environ)}{render(logger, method, whole)!s}"

    return as_json


def _for_people(logger: WrappedLogger, method: str, line: EventDict) -> str:
    """Write a line for a terminal; the text of an error may be another program's."""
    whole = structlog.processors.format_exc_info(logger, method, line)
    if "exception" in whole:
        whole["exception"] = escaped(str(whole["exception"]))
    plain = structlog.dev.plain_traceback
    return str(structlog.dev.ConsoleRenderer(exception_formatter=plain)(logger, method, whole))


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Return whether a stream is journald's socket: `JOURNAL_STREAM` has its device and inode."""
    try:
        end = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{end.st_dev}:{end.st_ino}"
