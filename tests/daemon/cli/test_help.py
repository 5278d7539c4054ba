"""What `--help` prints is what was written: Rich takes words in square brackets for a style."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from daemon.cli.main import app
from hyperdrift.errors import BadInput


def helps(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (of.help for of in command.params if getattr(of, "help", None))
    for each in getattr(command, "commands", {}).values():
        yield from helps(each)


def test_help_loses_no_word() -> None:
    found = list(helps(get_command(app)))
    assert len(found) > 100
    assert [text for text in found if Text.from_markup(text).plain != text] == []


@pytest.mark.parametrize(
    "words",
    [
        "exchange --port 99999",
        "demo --timeout -3",
        "backfill --coin BTC --interval 5m --days nan",
        "backfill --coin BTC --interval 5m --days 1e30",
        "import nofile.csv --coin BTC --interval 5m",
    ],
)
def test_an_impossible_argument_ends_with_2_before_anything_begins(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYPERDRIFT_DAEMON__DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, words.split())
    refused = isinstance(result.exception, BadInput) and "not there" in str(result.exception)
    assert result.exit_code == 2 or refused
