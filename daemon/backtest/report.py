"""Show a backtest: a table, and a page with the equity curve of every policy."""

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.box import SIMPLE
from rich.table import Column, Table

from daemon.backtest import coin_table
from daemon.backtest.backtest import BacktestResult, SlotBacktest
from daemon.backtest.coin_table import interval, number
from daemon.backtest.regret import RegretFigure
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


def show(coins: Sequence[SlotBacktest]) -> None:
    """Print the table of each coin, and one over all coins if there are several."""
    console = EscapingConsole(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    for coin in coins:
        policies = (Column(result.policy, justify="right") for result in coin.results)
        table = Table(Column(str(coin.slot)), *policies, box=SIMPLE)
        for row in _rows(coin.results):
            table.add_row(*row)
        console.print(table)
        for line in _earned(coin):
            console.print(line, soft_wrap=True)
    if len(coins) > 1:
        console.print(coin_table.table(coins))
    console.print(_note(*coins), soft_wrap=True)


def document(coins: Sequence[SlotBacktest], paths: Sequence[Path]) -> dict[str, Any]:
    """Return the results as plain JSON values: several coins are a list, with their means.

    Args:
        coins: The results, one coin or more.
        paths: The page of each.
    """
    each = [
        {"report": str(path), "policies": [result.document() for result in coin.results]}
        for coin, path in zip(coins, paths, strict=True)
    ]
    if len(coins) == 1:
        return each[0]
    listed = [{"slot": str(coin.slot), **one} for coin, one in zip(coins, each, strict=True)]
    return {"coins": listed, "means": coin_table.means(coins)}


def write(folder: Path, coin: SlotBacktest) -> Path:
    """Write the page of a coin, self-contained, and return its path."""
    slot, results = coin.slot, coin.results
    path, times = folder / f"{slot}.html", results[0].t
    span = " to ".join(utc(int(t)) for t in (times[0], times[-1]))
    page = _PAGE.format(
        policy=PAGE_POLICY,
        slot=html.escape(str(slot)),
        span=f"{len(times)} bars, {span}",
        note=html.escape(_note(coin)),
        table=_table(results),
        earned="".join(f"<li>{html.escape(line)}</li>" for line in _earned(coin)),
        plot=_plot(results),
    )
    path.write_text(page, encoding="utf-8")
    return path


def _earned(coin: SlotBacktest) -> list[str]:
    """Say for each policy whether its signals earn."""
    return [f"{each.policy} earns: {each.figures.earned}" for each in coin.results]


def _note(*coins: SlotBacktest) -> str:
    costs = dict.fromkeys(f"{coin.cost_bps:g}" for coin in coins)
    return _NOTE.format(costs=" or ".join(costs))


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
        f"{result.record.training_s:.0f} s",
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


def _plot(results: Sequence[BacktestResult]) -> str:
    """Draw equity over time, and when drift, swaps and rollbacks happened, as SVG text."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    for i, result in enumerate(results):
        colour = _COLOURS[i % len(_COLOURS)]
        times = result.t.astype("datetime64[ms]")
        axes.plot(
            times, 100 * result.track.equity, color=colour, linewidth=1.4, label=result.policy
        )
        for kind, (marker, _) in _MARKS.items():
            at = np.array(result.record.at(kind), dtype=np.int64)
            place = np.clip(np.searchsorted(result.t, at), 0, len(result.t) - 1)
            axes.plot(
                times[place],
                100 * result.track.equity[place],
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
