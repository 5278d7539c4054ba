"""Show a backtest: a table, and a page with the equity curve of every policy."""

import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from daemon.backtest.backtest import BacktestResult
from daemon.core.times import utc
from hyperdrift.slot_name import SlotName
from retrain.scores import FEE_BPS

# Legible on white and on near-black: the page has both themes.
_COLOURS: Final = ("#3b82f6", "#8a8f98", "#d97706", "#10a37f")
_INK: Final = "#8a8f98"
_MARKS: Final = {
    "drift": ("|", "drift alarm"),
    "retrain_started": (".", "retrain"),
    "swapped": ("^", "swap"),
    "rolled_back": ("v", "rollback"),
}
_FIGURES: Final = (
    *("retrains", "refused by a gate", "rollbacks", "drift alarms", "log loss", "skill"),
    *("directional IC", "signals", "win rate", "P&L after fees", "drawdown", "time spent training"),
)
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backtest of {slot}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8a8f9855; }}
td:first-child, th:first-child {{ text-align: left; }}
svg {{ width: 100%; height: auto; }}
</style></head><body>
<h1>Backtest of {slot}</h1>
<p>{span}. {note}</p>
<div class="wide">{table}</div>
{plot}
</body></html>
"""
_NOTE: Final = (
    f"P&L is the sum of the returns of the signals, one at a time, on one stake, after {FEE_BPS:g} "
    "basis points a round trip; no leverage, no funding, no slippage. Log loss, skill and IC are "
    "of the probabilities of the model that was live at each bar"
)


def show(results: Sequence[BacktestResult]) -> None:
    """Print the table."""
    policies = (Column(result.policy, justify="right") for result in results)
    table = Table(Column("policy"), *policies, box=SIMPLE)
    for row in _rows(results):
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    console.print(_NOTE + ".", soft_wrap=True)


def write(path: Path, slot: SlotName, results: Sequence[BacktestResult]) -> Path:
    """Write the page, self-contained, and return its path."""
    times = results[0].t
    span = " to ".join(utc(int(t)) for t in (times[0], times[-1]))
    page = _PAGE.format(
        slot=html.escape(str(slot)),
        span=f"{len(times)} bars, {span}",
        note=html.escape(_NOTE + "."),
        table=_table(results),
        plot=_plot(results),
    )
    path.write_text(page, encoding="utf-8")
    return path


def _rows(results: Sequence[BacktestResult]) -> list[tuple[str, ...]]:
    """Return a row for each figure: its name and its value under each policy."""
    columns = [_cells(result) for result in results]
    return [(name, *values) for name, *values in zip(_FIGURES, *columns, strict=True)]


def _cells(result: BacktestResult) -> tuple[str, ...]:
    counts, figures = result.counts(), result.figures
    return (
        str(counts["retrains"]),
        str(counts["refusals"]),
        str(counts["rollbacks"]),
        str(counts["drift_alarms"]),
        _number(figures.log_loss, ".4f"),
        _number(figures.skill, "+.4f"),
        _number(figures.ic, "+.3f"),
        str(figures.signals),
        _number(figures.win_rate, ".1%"),
        _number(figures.pnl, "+.1%"),
        _number(figures.drawdown, ".1%"),
        f"{result.record.training_s:.0f} s",
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def _table(results: Sequence[BacktestResult]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("", *(result.policy for result in results)))
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in _rows(results)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _plot(results: Sequence[BacktestResult]) -> str:
    """Draw equity over time, and when drift, swaps and rollbacks happened, as SVG text."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    for number, result in enumerate(results):
        colour = _COLOURS[number % len(_COLOURS)]
        times = result.t.astype("datetime64[ms]")
        axes.plot(times, 100 * result.equity, color=colour, linewidth=1.4, label=result.policy)
        for kind, (marker, _) in _MARKS.items():
            at = np.array(result.record.at(kind), dtype=np.int64)
            place = np.clip(np.searchsorted(result.t, at), 0, len(result.t) - 1)
            axes.plot(
                times[place],
                100 * result.equity[place],
                linestyle="",
                marker=marker,
                color=colour,
                markersize=7,
            )
    _label_axes(axes)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _label_axes(axes: Axes) -> None:
    """Label the axes in a grey that both themes can show."""
    locator = mdates.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.set_ylabel("sum of returns after fees, %", color=_INK)
    axes.axhline(0, color=_INK, linewidth=0.6)
    axes.tick_params(colors=_INK, which="both")
    axes.xaxis.get_offset_text().set_color(_INK)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(_INK)
    marks = [
        Line2D([], [], linestyle="", marker=marker, color=_INK, label=name)
        for marker, name in _MARKS.values()
    ]
    lines, _ = axes.get_legend_handles_labels()
    axes.legend(handles=[*lines, *marks], frameon=False, labelcolor=_INK, ncols=2)
