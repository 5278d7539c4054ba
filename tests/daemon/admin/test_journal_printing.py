"""Lines of the journal on a terminal of any width, and in a pipe."""

from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.text import Text

from daemon.admin.journal_printing import JournalPrinter
from daemon.config.schema import Config
from daemon.journal.line import JournalLine

LINE = JournalLine(
    seq=7,
    at_ms=1_753_963_200_000,
    slot="BTC-5m",
    kind="retrain_failed",
    text="The retrain failed and changed nothing: it ran out of its 300 MiB of memory; " * 3,
    severity="warning",
    fields={"job": "x"},
)


def printed(capsys: Any, line: JournalLine, *, as_json: bool = False) -> str:
    JournalPrinter(Config().slots, as_json=as_json).show(line)
    return str(capsys.readouterr().out)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(
    width: int, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = printed(capsys, LINE)
    assert "\x1b[33m" in out
    plain = Text.from_ansi(out).plain
    assert max(map(cell_len, plain.splitlines())) <= width
    assert plain.split() == ["2025-07-31", "12:00", "BTC-5m", *LINE.text.split()]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in printed(capsys, LINE)


def test_a_pipe_gets_one_line_without_colours(capsys: Any) -> None:
    out = printed(capsys, msgspec.structs.replace(LINE, slot="", text="a\x1b[2J\nb"))
    assert out == "2025-07-31 12:00  all     warning   a\\x1b[2J\\nb\n"


def test_json_is_one_document_a_line(capsys: Any) -> None:
    assert msgspec.json.decode(printed(capsys, LINE, as_json=True), type=JournalLine) == LINE


def test_an_impossible_time_is_no_error(capsys: Any) -> None:
    assert "retrain" in printed(capsys, msgspec.structs.replace(LINE, at_ms=2**60))
