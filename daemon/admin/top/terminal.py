"""Hold the terminal for `hyperdrift top`, and give it back as it was, however this ends."""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

from rich.live import Live
from rich.text import Text

from daemon.core.terminal.console import EscapingConsole
from hyperdrift.errors import BadInput

_READ_BYTES: Final = 1024


class Terminal:
    """The terminal while it is held.

    Args:
        console: Knows the size of the terminal.
        live: Draws on it.
    """

    def __init__(self, console: EscapingConsole, live: Live) -> None:
        self._console, self._live = console, live

    @property
    def size(self) -> tuple[int, int]:
        """Cells of a line, and lines."""
        return self._console.size.width, self._console.size.height

    def show(self, lines: list[Text]) -> None:
        """Show lines in place of those before."""
        self._live.update(Text("\n").join(lines), refresh=True)


def expect() -> EscapingConsole:
    """Return the console of this terminal.

    Raises:
        BadInput: If stdin or stdout is no terminal that can be drawn on.
    """
    console = EscapingConsole(highlight=False)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or console.is_dumb_terminal:
        raise BadInput("top needs a terminal; for programs there is `hyperdrift status --json`")
    return console


@contextlib.contextmanager
def held(on_input: Callable[[bytes], None], on_resize: Callable[[], None]) -> Iterator[Terminal]:
    """Hold the terminal: every key is given at once, and nothing that is typed is shown.

    Args:
        on_input: Called with what was read; with b"" when the terminal is gone.
        on_resize: Called after a change of its size.

    Raises:
        BadInput: If stdin or stdout is no terminal that can be drawn on.
    """
    console = expect()
    loop, keys = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    stops = signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # a stop would leave it as it is
    try:
        tty.setcbreak(keys)
        loop.add_reader(keys, lambda: on_input(_read(keys)))
        loop.add_signal_handler(signal.SIGWINCH, on_resize)
        live = Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")
        with live:
            yield Terminal(console, live)
    finally:
        loop.remove_reader(keys)
        loop.remove_signal_handler(signal.SIGWINCH)
        signal.signal(signal.SIGTSTP, stops)
        with contextlib.suppress(termios.error):  # the terminal itself is gone
            termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _read(keys: int) -> bytes:
    try:
        return os.read(keys, _READ_BYTES)
    except OSError:
        return b""
