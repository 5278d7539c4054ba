"""Print lines of the journal: coloured and folded on a terminal, one line each elsewhere."""

import sys
from collections.abc import Iterable
from typing import Final

import msgspec
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from daemon.config.schema import SlotSection
from daemon.core.outside_text import escaped
from daemon.core.terminal.console import EscapingConsole
from daemon.core.times import utc
from daemon.journal.line import JournalLine

_STYLES: Final = {"info": "", "warning": "yellow", "critical": "bold red"}
_WHOLE: Final = "all"  # an entry of the whole daemon
_NARROW: Final = 80


class JournalPrinter:
    """Prints lines on stdout, each at once.

    Args:
        slots: The slots of the configuration, whose names are put below one another.
        as_json: Whether each line is a JSON document.
    """

    def __init__(self, slots: Iterable[SlotSection], *, as_json: bool = False) -> None:
        names = (_WHOLE, *(str(section.name) for section in slots))
        self._slot_width, self._as_json = max(map(len, names)), as_json
        self._console = EscapingConsole(highlight=False)

    def show(self, line: JournalLine) -> None:
        """Print one line."""
        if self._as_json:
            self._write(msgspec.json.encode(line).decode())
        elif not self._console.is_terminal:
            self._write(self._plain(line))
        else:
            self._console.print(self._folded(line))

    def _write(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def _plain(self, line: JournalLine) -> str:
        slot = line.slot or _WHOLE
        text = f"{_time(line)}  {slot:<{self._slot_width}}  {line.severity:<8}  {line.text}"
        return _one_line(text)

    def _folded(self, line: JournalLine) -> Table | Padding:
        style, slot = _STYLES.get(line.severity, ""), _one_line(line.slot or _WHOLE)
        words = Text(_one_line(line.text), style=style)
        table = Table.grid(padding=(0, 2, 0, 0))
        if self._console.width < _NARROW:
            table.add_row(Text(f"{_time(line)}  {slot}", style="dim"))
            table.add_row(Padding(words, (0, 0, 0, 2)))
            return table
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, min_width=self._slot_width)
        table.add_column(overflow="fold")
        table.add_row(Text(_time(line), style="dim"), slot, words)
        return table


def _time(line: JournalLine) -> str:
    try:
        return utc(line.at_ms)
    except (ValueError, OverflowError, OSError):
        return "-" * 16


def _one_line(text: str) -> str:
    return escaped(text).replace("\n", "\\n")
