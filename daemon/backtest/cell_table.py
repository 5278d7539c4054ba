"""Put the cells of a backtest side by side: a row for each, and rows of means over the coins.

One coin is one draw. A policy that is better on most coins is better. No row is put first for its
figures: the best of many is partly luck.
"""

from collections.abc import Sequence
from typing import Final

from daemon.backtest.regret import RegretFigure
from daemon.backtest.results import BacktestResult, SlotBacktest
from daemon.backtest.summaries import GridResult, Summary

HEAD: Final = (
    *("slot", "horizon", "policy", "retrains", "log loss", "log loss regret"),
    *("P&L after costs", "before costs", "P&L regret", ""),
)
SUMMARY_HEAD: Final = (
    *("interval", "horizon", "policy", "cells", "retrains", "log loss", "log loss regret"),
    *("P&L after costs", "before costs", "P&L regret"),
)
NAMED: Final = 3
"""So many cells of a row say what it is of."""
_LUCK: Final = 0.05


def rows(slots: Sequence[SlotBacktest]) -> list[tuple[str, ...]]:
    """Return the cells of the table, in the order that was asked for."""
    return [_cells(slot, result) for slot in slots for result in slot.results]


def summary_rows(summaries: Sequence[Summary]) -> list[tuple[str, ...]]:
    """Return the means over the coins."""
    return [
        (
            one.interval,
            str(one.horizon_bars),
            one.policy or "all policies",
            str(one.cells),
            number(one.means.retrains, ".1f"),
            number(one.means.log_loss, ".4f"),
            number(one.means.log_loss_regret, "+.4f"),
            within(one.means.pnl, one.pnl_interval, "+.1%"),
            number(one.means.pnl_before_costs, "+.1%"),
            number(one.means.pnl_regret, "+.1%"),
        )
        for one in summaries
    ]


def tried(done: GridResult) -> str:
    """Say what a reader of many cells must know before choosing one."""
    have = done.cells - done.failed
    if not have:
        return f"{done.cells} cells were tried, none has figures."
    lucky, verb = max(1, round(_LUCK * have)), "has" if have == 1 else "have"
    return (
        f"{done.cells} cells were tried, {have} {verb} figures: by luck alone about {lucky} of "
        "their 95 % intervals leave 0 out, and the best of so many look better than they are. "
        "Choose by the means over the coins, nothing whose interval has 0 inside, and try the "
        "choice on newer bars."
    )


def _cells(slot: SlotBacktest, result: BacktestResult) -> tuple[str, ...]:
    names = str(slot.slot), str(slot.horizon_bars), result.policy
    retrains = str(result.counts.retrains)
    if result.failure is not None:
        return (*names, retrains, *("",) * (len(HEAD) - NAMED - 2), result.failure.reason)
    figures, regret = result.figures, result.regret
    return (
        *names,
        retrains,
        number(figures.log_loss, ".4f"),
        _difference(regret.log_loss, "+.4f"),
        within(figures.pnl, figures.pnl_interval, "+.1%"),
        number(figures.pnl_before_costs, "+.1%"),
        _difference(regret.pnl, "+.1%"),
        "",
    )


def number(value: float | None, form: str) -> str:
    """Return a figure as text; "-" if there is none."""
    return "-" if value is None else format(value, form)


def interval(ends: tuple[float, float] | None, form: str) -> str:
    """Return an interval as text; "-" if there is none."""
    return " to ".join(format(end, form) for end in ends) if ends else "-"


def within(value: float | None, ends: tuple[float, float] | None, form: str) -> str:
    """Return a figure with its interval, if there is one; "-" without a figure."""
    text = number(value, form)
    return f"{text} ({interval(ends, form)})" if ends else text


def _difference(of: RegretFigure | None, form: str) -> str:
    if of is None:
        return "-"
    return "best" if of.is_best else within(of.value, (of.low, of.high), form)
