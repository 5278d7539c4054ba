"""Show a backtest: tables, and for each slot a page with the equity curve of every policy."""

import html
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.box import SIMPLE
from rich.table import Column, Table

from daemon.backtest import cell_table
from daemon.backtest.cell_table import interval, number
from daemon.backtest.regret import RegretFigure
from daemon.backtest.results import BacktestResult, SlotBacktest, Tracks
from daemon.backtest.summaries import GridResult, means
from daemon.core.terminal import records
from daemon.core.terminal.console import EscapingConsole
from daemon.core.times import utc
from retrain.reporting.report import PAGE_POLICY

# Legible on white and on near-black: the page has both themes.
_COLOURS: Final = ("#3b82f6", "#8a8f98", "#d97706", "#10a37f", "#b45cc4")
_INK: Final = "#8a8f98"
_MARKS: Final = {
    "drift": ("|", "drift alarm"),
    "retrain_started": (".", "retrain"),
    "swapped": ("^", "swap"),
    "rolled_back": ("v", "rollback"),
}
_FIGURES: Final = (
    *(
        "retrains",
        "refused by a gate",
        "failed",
        "rollbacks",
        "drift alarms",
        "log loss",
        "regret",
        "95 %",
        "skill",
    ),
    *("directional IC", "signals", "win rate", "P&L before costs", "P&L after costs", "95 %"),
    *("regret", "95 %", "drawdown", "time spent training"),
)
_WIDE: Final = 160
_MOST_PATHS: Final = 6
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
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
<ul>{earned}</ul>
{plot}
</body></html>
"""
_NOTE: Final = (
    "P&L is the sum of the returns of the signals, one at a time, on one stake, without leverage; "
    "a round trip costs {costs} basis points. Log loss, skill and IC are "
    "of the probabilities of the model that was live at each bar. Regret is the difference to the "
    "fixed schedule that turned out best, of log loss or of P&L, with its 95 % interval."
)


def show(done: GridResult) -> None:
    """Print the figures of one slot, or of several a row for each cell and the means."""
    console = EscapingConsole(highlight=False)
    if len(done.slots) == 1:
        _show_slot(console, done.slots[0])
    else:
        named = cell_table.NAMED
        records.show_rows(console, cell_table.HEAD, cell_table.rows(done.slots), named=named)
        if means := cell_table.summary_rows(done.summaries):
            console.print("Means over the coins:")
            records.show_rows(console, cell_table.SUMMARY_HEAD, means, named=named)
        console.print(cell_table.tried(done), soft_wrap=True)
    if done.failed < done.cells:
        console.print(note(done.slots), soft_wrap=True)


def _show_slot(console: EscapingConsole, slot: SlotBacktest) -> None:
    policies = (Column(result.policy, justify="right") for result in slot.results)
    table = Table(Column(str(slot.slot)), *policies, box=SIMPLE)
    for row in _rows(slot.results):
        table.add_row(*row)
    if not console.is_terminal:
        console.width = _WIDE
    console.print(table)
    for line in _earned(slot):
        console.print(line, soft_wrap=True)


def document(done: GridResult) -> dict[str, Any]:
    """Return the results as plain JSON values: several slots are a list, with their means."""
    each = [
        {
            "report": str(slot.report) if slot.report else None,
            "policies": [result.document() for result in slot.results],
        }
        for slot in done.slots
    ]
    if len(each) == 1:
        return each[0]
    return {
        "cells": done.cells,
        "failed": done.failed,
        "note": cell_table.tried(done),
        "coins": [
            {"slot": str(slot.slot), "horizon_bars": slot.horizon_bars, **one}
            for slot, one in zip(done.slots, each, strict=True)
        ],
        "means": {policy: asdict(one) for policy, one in means(done.slots).items()},
        "summaries": [one.document() for one in done.summaries],
    }


def written(done: GridResult) -> list[str]:
    """Say where the pages of the slots are; of many, only in which folder."""
    paths = [slot.report for slot in done.slots if slot.report]
    if len(paths) > _MOST_PATHS:
        return [f"reports: {len(paths)} pages in {paths[0].parent}"]
    return [f"report: {path}" for path in paths]


def write(path: Path, slot: SlotBacktest, tracks: Tracks) -> None:
    """Write the page of a slot, self-contained."""
    results, times = slot.results, tracks.t
    span = " to ".join(utc(int(t)) for t in (times[0], times[-1]))
    page = _PAGE.format(
        policy=PAGE_POLICY,
        slot=html.escape(str(slot.slot)),
        span=f"{len(times)} bars, {span}, outcomes after {slot.horizon_bars} bars",
        note=html.escape(note([slot])),
        table=_table(results),
        earned="".join(f"<li>{html.escape(line)}</li>" for line in _earned(slot)),
        plot=_plot(slot.measured, tracks),
    )
    path.write_text(page, encoding="utf-8")


def note(slots: Sequence[SlotBacktest]) -> str:
    """Say what the figures are."""
    costs = dict.fromkeys(f"{slot.cost_bps:g}" for slot in slots)
    return _NOTE.format(costs=" or ".join(costs))


def _earned(slot: SlotBacktest) -> list[str]:
    """Say for each policy whether its signals earn, or why it has no figures, and what failed."""
    lines = list[str]()
    for each in slot.results:
        if each.failure is not None:
            lines.append(f"{each.policy} has no figures: {each.failure.reason}")
            continue
        lines.append(f"{each.policy} earns: {each.figures.earned}")
        trained = each.record.trained if each.record else ()
        if errors := [item["error"] for item in trained if "error" in item]:
            count = f"{len(errors)} of {len(trained)} retrains failed"
            lines.append(f"{each.policy}: {count}, the last: {errors[-1]}")
    return lines


def _rows(results: Sequence[BacktestResult]) -> list[tuple[str, ...]]:
    """Return a row for each figure: its name and its value under each policy."""
    columns = [_cells(result) for result in results]
    return [(name, *values) for name, *values in zip(_FIGURES, *columns, strict=True)]


def _cells(result: BacktestResult) -> tuple[str, ...]:
    counts, figures = result.counts, result.figures
    return (
        str(counts.retrains),
        str(counts.refusals),
        str(counts.failures),
        str(counts.rollbacks),
        str(counts.drift_alarms),
        number(figures.log_loss, ".4f"),
        *_regret(result.regret.log_loss, "+.4f"),
        number(figures.skill, "+.4f"),
        number(figures.ic, "+.3f"),
        str(figures.signals),
        number(figures.win_rate, ".1%"),
        number(figures.pnl_before_costs, "+.1%"),
        number(figures.pnl, "+.1%"),
        interval(figures.pnl_interval, "+.1%"),
        *_regret(result.regret.pnl, "+.1%"),
        number(figures.drawdown, ".1%"),
        f"{result.training_s:.0f} s",
    )


def _regret(of: RegretFigure | None, form: str) -> tuple[str, str]:
    """Return a regret and its interval; "best" for the schedule that is compared with."""
    if of is None:
        return "-", "-"
    if of.is_best:
        return "best", ""
    return format(of.value, form), interval((of.low, of.high), form)


def _table(results: Sequence[BacktestResult]) -> str:
    head = "".join(
        f"<th>{html.escape(name)}</th>" for name in ("", *(result.policy for result in results))
    )
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in _rows(results)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _plot(results: Sequence[BacktestResult], tracks: Tracks) -> str:
    """Draw equity over time, and when drift, swaps and rollbacks happened, as SVG text."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    times = tracks.t.astype("datetime64[ms]")
    for i, result in enumerate(results):
        colour = _COLOURS[i % len(_COLOURS)]
        equity = 100 * tracks.of_policy[result.policy].equity
        axes.plot(times, equity, color=colour, linewidth=1.4, label=result.policy)
        for kind, (marker, _) in _MARKS.items():
            at = np.array(result.record.at(kind) if result.record else (), dtype=np.int64)
            place = np.clip(np.searchsorted(tracks.t, at), 0, len(tracks.t) - 1)
            axes.plot(
                times[place],
                equity[place],
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
    axes.set_ylabel("sum of returns after costs, %", color=_INK)
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
