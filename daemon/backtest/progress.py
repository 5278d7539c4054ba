"""Show how far each cell of a backtest has come, and how long all of them may still take."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from daemon.backtest.policies import retrains_a_day
from daemon.config.schema import SlotSection
from daemon.core.terminal.console import EscapingConsole
from hyperdrift.slot_name import DAY_MS, SlotName

# Some dozen candidates: fewer would change the estimate with each, more would keep in it for long
# how fast an interrupted backtest found its candidates again.
_ESTIMATE_S: Final = 300.0
# A candidate takes 0.4 ms for each bar that it learns from, a bar of the replay 0.26 ms.
_LEARNT_S: Final = 4e-4
_REPLAYED_S: Final = 2.6e-4


def title(section: SlotSection, policy: str) -> str:
    """Return the name of a cell."""
    return f"{section.name} {section.horizon} bars {policy}"


def work(slot: SlotName, policy: str, first: int, bars: int) -> float:
    """Return about how many seconds of a core a cell takes from one bar to another."""
    a_bar = retrains_a_day(policy) * slot.interval_ms / DAY_MS
    learnt = first + a_bar * (bars**2 - first**2) / 2
    return _REPLAYED_S * (bars - first) + _LEARNT_S * learnt


class PolicyProgress:
    """Shows the bars that one policy has done, and the step of the child that trains for it.

    What is estimated is work, not bars: a model at the end learns from more bars than one at the
    beginning and takes as much longer. So the work up to a bar grows with its square.
    """

    def __init__(self, progress: Progress, name: str, first: int, bars: int) -> None:
        self._progress, self._first, self._bars = progress, first, bars
        self._task = progress.add_task(name, total=bars**2 - first**2, step="")

    def bars(self, done: int) -> None:
        """Show that so many bars are done."""
        self._progress.update(self._task, completed=done**2 - self._first**2, step="")

    def line(self, line: dict[str, Any]) -> None:
        """Show a step of the child that trains."""
        if line.get("event") == "progress":
            step = f"training, {line['step']} {float(line['percent']):.0f} %"
            self._progress.update(self._task, step=step)


class RunningCell(PolicyProgress):
    """Shows one cell while it runs, and counts it in the whole grid.

    Args:
        grid: The whole grid.
        name: The name of the cell.
        first: Index of the first bar that is run.
        bars: Number of bars.
    """

    def __init__(self, grid: "GridProgress", name: str, first: int, bars: int) -> None:
        super().__init__(grid.progress, name, first, bars)
        self._grid, self._name = grid, name

    def bars(self, done: int) -> None:
        """Show that so many bars are done."""
        super().bars(done)
        part = (done**2 - self._first**2) / (self._bars**2 - self._first**2)
        self._grid.came(self._name, part)

    def end(self) -> None:
        """Make room for the next one, if there are many."""
        self._grid.came(self._name, 1.0)
        if self._grid.has_many:
            self._progress.remove_task(self._task)


class CellProgress:
    """Shows one cell of a grid, once it begins; until then it is work to come."""

    def __init__(self, grid: "GridProgress", name: str) -> None:
        self._grid, self._name = grid, name

    def begun(self, first: int, bars: int) -> RunningCell:
        """Show a line for it; `first` is the index of the first bar that is run."""
        return RunningCell(self._grid, self._name, first, bars)

    def skip(self) -> None:
        """Take it out of the estimate: it was done before, or cannot be run."""
        self._grid.drop(self._name)


class GridProgress:
    """Shows the work of all cells, with one line more if there are several slots.

    Args:
        progress: Shows it.
        planned: The estimated work of each cell, by its name.
    """

    def __init__(self, progress: Progress, planned: Mapping[str, float]) -> None:
        self.progress, self._planned = progress, dict(planned)
        self._came = dict.fromkeys(planned, 0.0)
        self.has_many = len({name.rpartition(" ")[0] for name in planned}) > 1
        self._all: TaskID | None = None
        if self.has_many:
            self._all = progress.add_task("all cells", total=sum(planned.values()), step="")

    def cells_of(self, section: SlotSection, policies: Sequence[str]) -> list[CellProgress]:
        """Return what shows each cell of a slot."""
        return [CellProgress(self, title(section, name)) for name in policies]

    def came(self, name: str, part: float) -> None:
        """Count a part of a cell, 0 to 1."""
        self._came[name] = part
        if self._all is not None:
            done = sum(part * self._planned[name] for name, part in self._came.items())
            self.progress.update(self._all, completed=done)

    def drop(self, name: str) -> None:
        """Take a cell out."""
        self._planned[name] = 0.0
        if self._all is not None:
            self.progress.update(self._all, total=sum(self._planned.values()))

    @property
    def left_s(self) -> float | None:
        """Estimated seconds until all is done; None if it is too early to say."""
        return None if self._all is None else self.progress.tasks[0].time_remaining


@contextmanager
def shown(*, quiet: bool) -> Iterator[Progress]:
    """Show one line for each cell that runs, on a terminal only."""
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
