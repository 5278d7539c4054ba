"""Put the backtests of several coins side by side: a row for each coin and policy, and the means.

One coin is one draw. A policy that is better on most coins is better.
"""

from collections.abc import Callable, Sequence
from typing import Final

from rich.box import SIMPLE
from rich.table import Column, Table

from daemon.backtest.backtest import BacktestResult, SlotBacktest
from daemon.backtest.regret import RegretFigure

HEAD: Final = (
    *("coin", "policy", "retrains", "log loss", "log loss regret", "P&L after costs"),
    *("before costs", "P&L regret"),
)
_TEXTS: Final = 2


def rows(coins: Sequence[SlotBacktest]) -> list[tuple[str, ...]]:
    """Return the cells of the table: every coin's rows, then the mean of each policy."""
    cells = [_cells(str(coin.slot), result) for coin in coins for result in coin.results]
    for policy, mean in means(coins).items():
        cells.append(
            (
                f"mean of {len(coins)}",
                policy,
                number(mean["retrains"], ".1f"),
                number(mean["log_loss"], ".4f"),
                number(mean["log_loss_regret"], "+.4f"),
                number(mean["pnl"], "+.1%"),
                number(mean["pnl_before_costs"], "+.1%"),
                number(mean["pnl_regret"], "+.1%"),
            )
        )
    return cells


def means(coins: Sequence[SlotBacktest]) -> dict[str, dict[str, float | None]]:
    """Return the mean of each figure over the coins that have it, for each policy."""
    found = {}
    for i, result in enumerate(coins[0].results):
        of_policy = [coin.results[i] for coin in coins]
        found[result.policy] = {name: _mean(of_policy, get) for name, get in _FIGURES.items()}
    return found


def table(coins: Sequence[SlotBacktest]) -> Table:
    """Return the table for a terminal."""
    head = (Column(name, justify="left" if i < _TEXTS else "right") for i, name in enumerate(HEAD))
    made = Table(*head, box=SIMPLE)
    for row in rows(coins):
        made.add_row(*row)
    return made


def _value(difference: RegretFigure | None) -> float | None:
    return difference.value if difference else None


_FIGURES: Final[dict[str, Callable[[BacktestResult], float | None]]] = {
    "retrains": lambda result: float(result.counts()["retrains"]),
    "log_loss": lambda result: result.figures.log_loss,
    "log_loss_regret": lambda result: _value(result.regret.log_loss),
    "pnl": lambda result: result.figures.pnl,
    "pnl_before_costs": lambda result: result.figures.pnl_before_costs,
    "pnl_regret": lambda result: _value(result.regret.pnl),
}


def _mean(
    results: Sequence[BacktestResult], get: Callable[[BacktestResult], float | None]
) -> float | None:
    values = [value for result in results if (value := get(result)) is not None]
    return sum(values) / len(values) if values else None


def _cells(slot: str, result: BacktestResult) -> tuple[str, ...]:
    figures, regret = result.figures, result.regret
    return (
        slot,
        result.policy,
        str(result.counts()["retrains"]),
        number(figures.log_loss, ".4f"),
        _difference(regret.log_loss, "+.4f"),
        _within(figures.pnl, figures.pnl_interval, "+.1%"),
        number(figures.pnl_before_costs, "+.1%"),
        _difference(regret.pnl, "+.1%"),
    )


def number(value: float | None, form: str) -> str:
    """Return a figure as text; "-" if there is none."""
    return "-" if value is None else format(value, form)


def interval(ends: tuple[float, float] | None, form: str) -> str:
    """Return an interval as text; "-" if there is none."""
    return " to ".join(format(end, form) for end in ends) if ends else "-"


def _within(value: float, ends: tuple[float, float] | None, form: str) -> str:
    return f"{value:{form}} ({interval(ends, form)})" if ends else format(value, form)


def _difference(of: RegretFigure | None, form: str) -> str:
    if of is None:
        return "-"
    return "best" if of.is_best else _within(of.value, (of.low, of.high), form)
