"""Fold text to the width of a terminal, with a hanging indent; nothing is cut."""

from typing import Final

from rich.text import Text

from daemon.core.outside_text import escaped
from daemon.core.terminal.console import EscapingConsole

_CONSOLE: Final = EscapingConsole(highlight=False)  # only measures
_LEAST: Final = 20


def one_line(text: str) -> str:
    """Return a text with an escape for each character that moves the cursor, line breaks too."""
    return escaped(text).replace("\n", "\\n")


def folded(
    text: str, width: int, *, style: str = "", lead: str = "", indent: int = 0
) -> list[Text]:
    """Return the lines of a text.

    Args:
        text: One paragraph.
        width: The width of the terminal, in cells.
        style: How it is written.
        lead: What stands before it, in the indent of the first line.
        indent: How far all lines are indented, if the terminal is wide enough for that.
    """
    if width - indent < _LEAST:
        indent = min(2, max(0, width - 1))
    lead = one_line(lead)
    body = Text(one_line(text), style=style).wrap(_CONSOLE, max(1, width - indent), overflow="fold")
    lines = []
    if Text(lead).cell_len >= indent and lead.strip():
        lines = [Text(lead.rstrip(), style="dim")] if indent else []
        lead = ""
    for i, line in enumerate(body or [Text()]):
        line.rstrip()
        before = Text(lead if i == 0 else "", style="dim")
        before.truncate(indent, pad=True)
        lines.append(Text.assemble(before, line))
    return lines


def fitted(text: str, width: int, *, right: bool = False) -> Text:
    """Return a text of exactly `width` cells: padded, or cut with an ellipsis."""
    cell = Text(one_line(text))
    if right:
        cell.pad_left(max(0, width - cell.cell_len))
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell
