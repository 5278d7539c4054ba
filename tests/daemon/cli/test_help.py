"""What `--help` prints is what was written: Rich takes words in square brackets for a style."""

from collections.abc import Iterator
from typing import Any

from rich.text import Text
from typer.main import get_command

from daemon.cli.main import app


def helps(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (of.help for of in command.params if getattr(of, "help", None))
    for each in getattr(command, "commands", {}).values():
        yield from helps(each)


def test_help_loses_no_word() -> None:
    found = list(helps(get_command(app)))
    assert len(found) > 100
    assert [text for text in found if Text.from_markup(text).plain != text] == []
