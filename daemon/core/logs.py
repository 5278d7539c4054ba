"""Log lines: for people on a terminal, JSON elsewhere, with a priority for journald.

Always on stderr: stdout stays free for what a command prints. A storm of one kind of line is cut
to a trickle that says how much of it is missing, so that it cannot push the rest out of the log.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hyperdrift.clock import Clock, SystemClock
from hyperdrift.logs import EVENT, FIELDS

# Syslog's numbers, in the prefix that the service manager takes off a line again.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_BURST: Final = 50.0
_LINES_A_SECOND: Final = 1.0


def configure(level: int = logging.INFO, environ: Mapping[str, str] | None = None) -> None:
    """Set up logging for this process.

    Args:
        level: What is less urgent is not written.
        environ: Where journald leaves word; the process environment by default.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            StormLimit(SystemClock()),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _renderer(sys.stderr, os.environ if environ is None else environ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Libraries()])
    logging.getLogger("hyperdrift").setLevel(level)


class _Libraries(logging.Handler):
    """Passes on what libraries log: in the form of our own lines, or it would be bare text."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        ours, fields = structlog.get_logger(), getattr(record, FIELDS, None)
        if fields is not None:  # of the client, which speaks as we do
            ours.log(record.levelno, getattr(record, EVENT), **fields, exc_info=record.exc_info)
            return
        ours.log(
            record.levelno,
            f"library.{record.name}",
            text=record.getMessage(),
            exc_info=record.exc_info,
        )


class StormLimit:
    """Passes fifty lines of a kind at once and then one a second; critical ones always.

    A kind is event, slot and `kind`. The first line after some that were left out has their number
    in the field `left_out`.
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


def mark(level: str, stream: TextIO, environ: Mapping[str, str] | None = None) -> str:
    """Return what tells journald how urgent a line is; nothing where another reads the stream."""
    to_journal = _is_journal(stream, os.environ if environ is None else environ)
    return f"<{_PRIORITIES.get(level, 6)}>" if to_journal else ""


def _renderer(stream: TextIO, environ: Mapping[str, str]) -> Processor:
    if stream.isatty():
        return structlog.dev.ConsoleRenderer()
    render = structlog.processors.JSONRenderer()

    def as_json(logger: WrappedLogger, method: str, line: EventDict) -> str:
        whole = structlog.processors.format_exc_info(logger, method, line)
        level = str(line.get("level"))
        return f"{mark(level, stream, environ)}{render(logger, method, whole)!s}"

    return as_json


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether a stream goes to journald, which names the device and inode of its socket."""
    try:
        end = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{end.st_dev}:{end.st_ino}"
