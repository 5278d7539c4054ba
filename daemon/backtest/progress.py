"""Show how far each policy of a backtest has come, and how long it may still take."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from daemon.core.terminal.console import EscapingConsole

# Some dozen candidates: fewer would change the estimate with each, more would keep in it for long
# how fast an interrupted backtest found its candidates again.
_ESTIMATE_S: Final = 300.0


class PolicyProgress:
    """Shows the bars that one policy has done, and the step of the child that trains for it.

    What is estimated is work, not bars: a model at the end learns from more bars than one at the
    beginning and takes as much longer. So the work up to a bar grows with its square.
    """

    def __init__(self, progress: Progress, name: str, first: int, bars: int) -> None:
        self._progress, self._first = progress, first
        self._task = progress.add_task(name, total=bars**2 - first**2, step="")

    def bars(self, done: int) -> None:
        """Show that so many bars are done."""
        self._progress.update(self._task, completed=done**2 - self._first**2, step="")

    def line(self, line: dict[str, Any]) -> None:
        """Show a step of the child that trains."""
        if line.get("event") == "progress":
            step = f"training, {line['step']} {float(line['percent']):.0f} %"
            self._progress.update(self._task, step=step)


@contextmanager
def shown(*, quiet: bool) -> Iterator[Progress]:
    """Show one line for each policy and coin, on a terminal only."""
    console = EscapingConsole(stderr=True)
    columns = (
        TextColumn("{task.description:16}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[step]}"),
    )
    hidden = quiet or not console.is_terminal
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=hidden,
        speed_estimate_period=_ESTIMATE_S,
    ) as bars:
        yield bars
