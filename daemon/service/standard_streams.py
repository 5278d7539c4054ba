"""Make the three standard channels of this process safe to use.

A closed channel is the danger: the next file that is opened takes its number, and the store
would get the lines of the log. A channel to a full disk must not end a daemon either.
"""

import io
import os
import sys
from typing import Any, TextIO


def secure() -> None:
    """Open `/dev/null` for what is closed, and let no log line end this process."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is sys.__stderr__:
        sys.stderr = _tolerant_stderr()


def flush() -> None:
    """Write out what stdout holds.

    Raises:
        OSError: If it cannot be written; it is dropped, so that it fails once only.
    """
    try:
        sys.stdout.flush()
    except OSError:
        drop()
        raise


def drop() -> None:
    """Give up what stdout still holds: the interpreter would fail with it again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


class _Tolerant(io.FileIO):
    """Drops what cannot be written: the disk is full, the reader is gone or does not read."""

    def write(self, data: Any) -> int:
        """Write what can be written; claim all of it."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def _tolerant_stderr() -> TextIO:
    raw = io.BufferedWriter(_Tolerant(2, "w", closefd=False))
    return io.TextIOWrapper(raw, errors="backslashreplace", line_buffering=True)
