"""Rows are a table where it fits and records where it does not; nothing is cut at any width."""

from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from daemon.core.terminal.console import EscapingConsole
from daemon.core.terminal.folding import fitted, folded
from daemon.core.terminal.records import show_rows

TITLES = ("", "model", "accuracy", "a signal", "skill", "gates")
ROWS = (
    ("live", "20250731_044633_ba55f4789d38", "0.691", "+0.16%", "0.0861", "passed"),
    ("", "20250731_044633_000000000000", "0.6", "-", "-", "refused by " + ", ".join("abcdef") * 9),
)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_every_cell_is_whole_on_a_terminal_of_any_width(width: int) -> None:
    console = EscapingConsole(width=width, force_terminal=True, no_color=True, highlight=False)
    for rows in (ROWS, ROWS[:1]):
        with console.capture() as printed:
            show_rows(console, TITLES, rows)
        lines = Text.from_ansi(printed.get()).plain.splitlines()
        assert max(map(cell_len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        for row in rows:
            for cell in row:
                assert cell in text


def test_a_pipe_gets_a_whole_table_without_colours(capsys: Any) -> None:
    show_rows(EscapingConsole(), TITLES, ROWS)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert all(cell in out for row in ROWS for cell in row)
    assert len(out.strip().splitlines()) == 4


def test_folded_lines_keep_their_indent_and_escape_what_moves_the_cursor() -> None:
    lines = folded("one two three\x1b[2J\n" * 3, 30, lead="  name", indent=8)
    assert lines[0].plain.startswith("  name  one two")
    assert all(line.plain.startswith(" " * 8) for line in lines[1:])
    assert all(line.plain.isprintable() and line.cell_len <= 30 for line in lines)
    assert fitted("漢字漢字", 5).cell_len == 5
