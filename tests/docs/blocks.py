"""The blocks of code of README and docs, and the commands in those of a shell."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
HERE_DOCUMENT = re.compile(r"(^.*?) ?<<'?(\w+)'?\n.*?^\2$", re.MULTILINE | re.DOTALL)
GENERATED = "<!-- Written by `make reference`"


@dataclass(frozen=True)
class Block:
    """A block of code, the page that it stands on, and the line there."""

    page: str
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of a shell, without `sudo`, variables and redirections."""

    place: str
    program: str
    words: tuple[str, ...]


def pages() -> dict[str, str]:
    """Return the text of each page by its path, generated ones too."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths}


def tokens(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text)


def blocks() -> list[Block]:
    """Return every block of the pages written by hand; an indented one is a shell's."""
    return [
        Block(page, token.map[0] + 1, token.info.strip() or "sh", token.content)
        for page, text in pages().items()
        if not text.startswith(GENERATED)
        for token in tokens(text)
        if token.type in {"fence", "code_block"} and token.map
    ]


def inline_code() -> Iterator[tuple[str, str]]:
    """Yield each piece of code in the running text of a page written by hand."""
    for page, text in pages().items():
        if text.startswith(GENERATED):
            continue
        for token in tokens(text):
            for child in token.children or ():
                if child.type == "code_inline":
                    yield page, child.content


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a shell's block in their order."""
    joined = HERE_DOCUMENT.sub(r"\1", block.code.replace("\\\n", " "))
    for line in joined.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if set(token) <= set(";&|()"):
                if command := _command(block.place, words):
                    yield command
                words = []
            else:
                words.append(token)


def _command(place: str, words: list[str]) -> Command | None:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or set(word) <= set("<>"):
            skip = not skip
        else:
            kept.append(word)
    while kept and (kept[0] in {"sudo", "nice", "do", "then"} or re.match(r"\w+=", kept[0])):
        first = kept.pop(0)
        while first in {"sudo", "nice"} and kept and kept[0].startswith("-"):
            del kept[:2]
    if not kept or kept[0] in {"done", "fi", "for", "if"}:
        return None
    return Command(place, kept[0].rpartition("/")[2], tuple(kept[1:]))
