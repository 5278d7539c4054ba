"""Print the demo: a line that is updated in place on a terminal, plain lines elsewhere."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daemon.core.terminal.console import EscapingConsole
from daemon.core.terminal.records import show_rows
from daemon.demo.event_log import EventLog
from daemon.demo.fleet import fleet_screen
from daemon.demo.fleet.cycle import DemoSummary
from daemon.journal.said import plural

_EVERY_BARS: Final = 50
_EVERY_PERCENT: Final = 20.0
_TITLES: Final = ("model", "", "accuracy", "a signal", "skill", "gates")
_COLOURS: Final = {
    "FAIL": "red", "alert": "red", "drift": "yellow", "market": "yellow", "retrain": "cyan",
    "verdict": "bold", "swap": "green", "bot": "green", "operator": "magenta", "rollback": "red",
}  # fmt: skip


class Screen:
    """Prints lines and the state of the demo; `quiet` prints to stderr, for `--json`."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = EscapingConsole(stderr=quiet, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._told_bars, self._told_percent = 0, 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, line: str) -> None:
        """Print a line that stays."""
        words = line.split()
        colour = next((c for word, c in _COLOURS.items() if word in words[:2]), "")
        self._console.print(Text(line, style=colour))

    def show(self, logs: Sequence[EventLog]) -> None:
        """Show the state of the run: in place on a terminal, elsewhere a line at intervals."""
        if not all(log.state for log in logs):
            return
        if len(logs) > 1:
            self._show_several(logs)
            return
        (log,) = logs
        if self._live is not None:
            self._live.update(_panel(log))
            return
        job = log.state["retrain"]
        if job and abs(job["percent"] - self._told_percent) >= _EVERY_PERCENT:
            self._told_percent = job["percent"]
            self.tell(f"{'retrain':>9}  {job['step']} {job['percent']:.0f} %")
        if log.bars - self._told_bars >= _EVERY_BARS:
            self._told_bars = log.bars
            self.tell(f"{'bars':>9}  {_status(log)}")

    def _show_several(self, logs: Sequence[EventLog]) -> None:
        if self._live is not None:
            self._live.update(fleet_screen.panel(logs))
            return
        bars = min(log.bars for log in logs)
        if bars - self._told_bars >= _EVERY_BARS:
            self._told_bars = bars
            self.tell(f"{'bars':>9}  {fleet_screen.status(logs)}")

    def close(self, summary: DemoSummary) -> None:
        """Print how the run ended, with a table of the models, or of the slots if several."""
        if self._live is not None:
            self._live.update("")
        if len(summary.slots) == 1:
            show_rows(self._console, _TITLES, _models(summary.slots[0].models))
        else:
            show_rows(self._console, fleet_screen.TITLES, fleet_screen.rows(summary), named=1)
        equal = all(slot.store_equal for slot in summary.slots)
        store = "equals the recording" if equal else "DIFFERS from the recording"
        checked = sum(slot.checked_bars for slot in summary.slots)
        self.tell(f"{'store':>9}  {checked} streamed bars: the store {store}, bar for bar")
        logs = [slot.log for slot in summary.slots]
        phases = ", ".join(sorted({log.state.get("phase", "unknown") for log in logs}))
        ended = {
            "swap": "a whole cycle is done: drift or a command, retrain, gates, swap, acknowledged",
            "timeout": f"time is up, no such swap yet; phase {phases}",
        }.get(summary.ended, summary.ended)
        self.tell(
            f"{'end':>9}  {ended} ({plural(sum(log.bars for log in logs), 'bar')}, "
            f"{plural(sum(len(log.retrains) for log in logs), 'retrain')}, "
            f"{plural(sum(len(log.swaps) for log in logs), 'swap')}, {summary.elapsed_s:.0f} s)"
        )


def _status(log: EventLog) -> str:
    state = log.state
    win = "no win rate yet"
    if state["win_rate"] is not None:
        win = f"win rate {state['win_rate']:.0%} of {state['trades']}"
    worst = max(state["drift"].items(), key=lambda pair: pair[1], default=None)
    drift = f"highest drift {worst[0]} {worst[1]:.0%}" if worst else "no drift reference yet"
    return (
        f"{log.bars} closed, {log.predictions} answered by the bot, {win}, {drift}, "
        f"{state['phase']}"
    )


def _panel(log: EventLog) -> Any:
    rows: list[Any] = [Text(f"{'now':>9}  {_status(log)}", style="dim")]
    job = log.state["retrain"]
    if job:
        bar = Table.grid(padding=(0, 1))
        step = f"{'retrain':>9}  {job['step']}"
        bar.add_row(step, ProgressBar(total=100, completed=job["percent"], width=40))
        rows.append(bar)
    return Group(*rows)


def _models(models: tuple[dict[str, Any], ...]) -> list[tuple[str, ...]]:
    return [
        (
            model["model_id"],
            "live" if model["live"] else "previous" if model["previous"] else "",
            "-" if model["test_accuracy"] is None else f"{model['test_accuracy']:.3f}",
            "-" if model["mean_return"] is None else f"{model['mean_return']:+.2%}",
            "-" if model["skill"] is None else f"{model['skill']:.4f}",
            "passed" if model["passed"] else f"refused by {', '.join(model['refused_by'])}",
        )
        for model in models
    ]
