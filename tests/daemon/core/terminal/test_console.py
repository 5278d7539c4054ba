import io
import re
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from daemon.cli.options import echo
from daemon.core.outside_text import escaped
from daemon.core.terminal.console import EscapingConsole

HOSTILE = "a\x1b]0;t\x07\x9b2J\x7f\x08\u202eb\u2028c\r[red]d[/red]"
SHOWN = "a\\x1b]0;t\\x07\\x9b2J\\x7f\\x08\\u202eb\\u2028c\\r[red]d[/red]"
DAEMON = Path(__file__).parents[4] / "daemon"
PRINTS = re.compile(r"typer\.echo|click\.echo|\bConsole\(|rich import print")


def test_what_a_terminal_obeys_becomes_text_and_all_else_stays(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert escaped("Ünïcode 世界, 5 €\nnext") == "Ünïcode 世界, 5 €\nnext"
    echo(HOSTILE)
    echo(HOSTILE, err=True)
    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")


def test_a_console_shows_hostile_text_in_lines_tables_and_coloured_texts() -> None:
    out = io.StringIO()
    console = EscapingConsole(file=out, width=300, force_terminal=True, color_system="standard")
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    console.print(HOSTILE, highlight=False)
    console.print("x\nBTC-5m: live")  # no name makes a line of its own
    assert "x\\nBTC-" in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    console.print(table)
    console.print(Text("\x1b[2J\u202e", "red"))
    said = out.getvalue()
    assert said.count(SHOWN) == 3
    assert "\x1b[31m\\x1b[2J\\u202e\x1b[0m" in said
    assert re.sub(r"\x1b\[[0-9;]*m", "", said).replace("\n", "").isprintable()


def test_commands_print_in_no_other_way() -> None:
    files = [path for path in DAEMON.rglob("*.py") if path.name != "console.py"]
    assert [str(p) for p in files if PRINTS.search(p.read_text(encoding="utf-8"))] == []
