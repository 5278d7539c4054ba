"""The terminal is given back as it was, also after a crash."""

import contextlib
import os
import pty
import select
import sys
import termios
from collections.abc import Iterator

import pytest
from rich.text import Text

from daemon.admin.top.terminal import expect, held
from hyperdrift.errors import BadInput


@contextlib.contextmanager
def own_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make a pseudo-terminal this process's own; yield its other end."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    with (
        os.fdopen(theirs, "r", closefd=False) as stdin,
        os.fdopen(theirs, "w", closefd=False) as stdout,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        yield ours
    os.close(theirs)
    os.close(ours)


async def test_a_crash_leaves_the_terminal_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_terminal(monkeypatch) as master:
        before = termios.tcgetattr(sys.stdin.fileno())
        with contextlib.suppress(RuntimeError), held(print, print) as terminal:
            assert termios.tcgetattr(sys.stdin.fileno()) != before
            terminal.show([Text("hello")])
            raise RuntimeError
        sys.stdout.flush()
        assert termios.tcgetattr(sys.stdin.fileno()) == before
        drawn = b""
        while not drawn.endswith(b"\x1b[?25h\x1b[?1049l"):  # the kernel may hand it on in pieces
            assert select.select([master], [], [], 10)[0], drawn
            drawn += os.read(master, 65_536)
    assert b"\x1b[?1049h" in drawn
    assert b"hello" in drawn


def test_without_a_terminal_it_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_terminal(monkeypatch):
        assert expect().is_terminal
        monkeypatch.setenv("TERM", "dumb")
        with pytest.raises(BadInput, match="hyperdrift status --json"):
            expect()
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(BadInput, match="hyperdrift status --json"):
        expect()  # pytest's stdin is none
