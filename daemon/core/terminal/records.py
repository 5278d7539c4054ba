"""Print a table where it fits, and else a record for each row: no cell is ever cut."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from daemon.core.terminal.console import EscapingConsole
from daemon.core.terminal.folding import folded, one_line

_INDENT = 4


def show_rows(
    console: EscapingConsole,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    named: int = 2,
) -> None:
    """Print rows.

    Args:
        console: Prints them; elsewhere than on a terminal a table is as wide as it has to be.
        titles: The heads of the columns; empty where a cell needs none.
        rows: The cells of each row.
        named: So many cells at the beginning stand in the first line of a record.
    """
    table = Table(*titles, box=SIMPLE)
    for column in table.columns:
        column.no_wrap = True
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    options = console.options.update(max_width=10_000)
    natural = Measurement.get(console, options, table).maximum
    if not console.is_terminal:
        console = EscapingConsole(file=console.file, width=natural, highlight=False)
    if natural <= console.width:
        console.print(table)
        return
    for row in rows:
        for line in folded("  ".join(filter(None, row[:named])), console.width, style="bold"):
            console.print(line)
        pairs = zip(titles[named:], row[named:], strict=True)
        facts = ", ".join(f"{title} {cell}".strip() for title, cell in pairs if cell)
        for line in folded(facts, console.width, lead=" " * _INDENT, indent=_INDENT):
            console.print(line)
