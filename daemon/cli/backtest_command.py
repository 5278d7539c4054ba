"""The command that shows what each policy would have done on the stored bars."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from daemon.cli.options import INTERRUPTED, ConfigOption, JsonOption, echo, print_json, run_async
from hyperdrift.errors import BadInput

if TYPE_CHECKING:
    from daemon.backtest.summaries import GridResult

_MOST_BARS: Final = 1000

Coins = Annotated[
    list[str],
    typer.Option("--coin", help="As the venue writes it; repeatable, or with commas; * for all."),
]
Intervals = Annotated[
    list[str] | None,
    typer.Option("--interval", help="5m, 1h, ...; repeatable, or with commas (5m)."),
]
Policies = Annotated[str, typer.Option(help="Which policies, separated by commas.")]
Horizons = Annotated[
    list[str] | None,
    typer.Option("--horizon", help="Bars to the outcome; repeatable, or with commas (the slot's)."),
]
Days = Annotated[float | None, typer.Option(min=1, help="Only the newest so many days (all).")]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend", help="Where to train: local, dask, dask://host:8786 (retrain.backend)."
    ),
]
PageFile = Annotated[
    Path | None, typer.Option(help="Write all cells to this file, as a page that sorts.")
]


def add(app: typer.Typer) -> None:
    """Put this command on the command line."""
    app.command()(backtest)


def backtest(
    coin: Coins,
    interval: Intervals = None,
    policy: Policies = "drift,never,monthly,weekly,daily",
    horizon: Horizons = None,
    days: Days = None,
    backend: BackendName = None,
    page: PageFile = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each policy would have done on the stored bars; exit code 3 if gates refuse all."""
    from daemon.core.extras import require

    require("matplotlib", "the report of a backtest")
    from daemon.backtest import grid
    from daemon.backtest.backtest import GridBacktest
    from daemon.config import loader as configuration
    from daemon.core import logs

    logs.configure()
    _look_for(page)
    settings, names = configuration.load(config), _listed(interval) or ["5m"]
    work = GridBacktest(
        settings,
        grid.planned(settings, _listed(coin), names, _horizons(horizon)),
        _listed([policy]),
        days=days,
        backend=backend,
        quiet=as_json,
    )
    if (done := run_async(work.run())) is None:
        echo(f"hyperdrift: interrupted; {work.resume}", err=True)
        sys.exit(INTERRUPTED)
    _tell(done, page, as_json=as_json)
    sys.exit(done.exit_code)


def _tell(done: "GridResult", page: Path | None, *, as_json: bool) -> None:
    """Print the results, and write the page about all cells."""
    from daemon.backtest import grid_page, report

    if as_json:
        print_json(report.document(done))
    else:
        report.show(done)
        for line in report.written(done):
            echo(line)
    if page is not None:
        grid_page.write(page, done)
        echo(f"page: {page}", err=True)


def _look_for(page: Path | None) -> None:
    """Look whether a page has a place, before hours of work.

    Raises:
        BadInput: If it has none.
    """
    if page is not None and (page.is_dir() or not page.parent.is_dir()):
        raise BadInput(f"--page {page}: name a file in a folder that exists")


def _horizons(given: Sequence[str] | None) -> list[int]:
    """Return horizons as numbers.

    Raises:
        BadInput: If one is no whole number of bars.
    """
    texts = _listed(given)
    for text in texts:
        if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST_BARS):
            raise BadInput(f"--horizon {text!r} is not a number of bars, 1 to {_MOST_BARS}")
    return [int(text) for text in texts]


def _listed(given: Sequence[str] | None) -> list[str]:
    """Return the names in options that may be given several times or with commas."""
    return [name.strip() for one in given or () for name in one.split(",") if name.strip()]
