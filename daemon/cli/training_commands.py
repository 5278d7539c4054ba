"""Commands that label, train and judge on the stored bars."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from daemon.cli.options import (
    INTERRUPTED,
    CoinOption,
    ConfigOption,
    IntervalOption,
    JsonOption,
    echo,
    print_json,
    run_async,
    settings_and_slot,
)
from hyperdrift.errors import BadInput

_MOST_BARS: Final = 1000


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command()(labels)
    app.command()(parity)
    app.command()(retrain)
    app.command()(backtest)


def labels(coin: CoinOption, interval: IntervalOption = "5m", config: ConfigOption = None) -> None:
    """Show the shares of DOWN, NEUTRAL and UP for several horizons and thresholds.

    They are of the training block, the oldest 80 % of the bars; the row in force is marked.
    """
    from daemon.training.label_view import label_report

    echo(label_report(*settings_and_slot(config, coin, interval)))


def parity(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    computer: Annotated[
        list[str] | None,
        typer.Option(help='"builtin" or "package.module:Class"; once or twice.'),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two computers of features over the stored bars; exit code 3 if they differ.

    One --computer is compared with ours; without any, the configured one with ours; the same
    one twice with itself as it is served live.
    """
    from daemon.config import loader as configuration
    from daemon.core import logs
    from daemon.scoring.feature_parity import REFUSED, compare
    from hyperdrift.slot_name import SlotName, interval_name

    logs.configure()
    settings = configuration.load(config)
    first, second = _pair(computer or [], settings.features.computer)
    found = run_async(compare(settings, SlotName(coin, interval_name(interval)), first, second))
    if found is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(found.document())
    else:
        for line in found.lines():
            echo(line)
    sys.exit(0 if found.agrees else REFUSED)


def _pair(asked: list[str], configured: str) -> tuple[str, str]:
    match asked:
        case []:
            return "builtin", configured
        case [one]:
            return "builtin", one
        case [one, two]:
            return one, two
    raise BadInput(f"--computer is given {len(asked)} times; give it once or twice")


def retrain(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    deploy: Annotated[bool, typer.Option(help="Put it live if every gate passes.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Skip cooldown and evidence, never the gates.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the pipeline now on the stored bars; exit code 3 if a gate refuses."""
    from daemon.core import logs
    from daemon.fleet.opening import open_jobs
    from daemon.training.one_shot import retrain_once
    from hyperdrift.clock import SystemClock

    logs.configure()
    settings, slot = settings_and_slot(config, coin, interval)
    how = {"deploy": deploy, "force": force, "quiet": as_json}
    work = retrain_once(settings, slot, SystemClock(), **how, opened=open_jobs)
    result = run_async(work)
    if result is None:
        sys.stderr.write("hyperdrift: interrupted; `hyperdrift models list` shows what is live\n")
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(result.document())
    sys.exit(result.exit_code)


def backtest(
    coin: Annotated[
        list[str],
        typer.Option(
            "--coin", help="As the venue writes it; several times or with commas; * for all stored."
        ),
    ],
    interval: Annotated[
        list[str] | None,
        typer.Option("--interval", help="5m, 1h, ...; several times or with commas [5m]."),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="Which policies, separated by commas.")
    ] = "drift,never,monthly,weekly,daily",
    horizon: Annotated[
        list[str] | None,
        typer.Option("--horizon", help="Bars to the outcome; as --interval [the slot's]."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=1, help="Only the newest so many days [all].")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="What trains, as [retrain] backend names it [that].")
    ] = "",
    page: Annotated[
        Path | None, typer.Option(help="Write all cells to this file, a page that sorts.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each policy would have done on the stored bars; exit code 3 if gates refuse all."""
    from daemon.core.extras import require

    require("matplotlib", "the report of a backtest")
    from daemon.backtest import grid, grid_page, report
    from daemon.backtest.backtest import GridBacktest
    from daemon.config import loader as configuration
    from daemon.core import logs

    logs.configure()
    settings = configuration.load(config)
    horizons, intervals = _bars(_listed(horizon or [])), _listed(interval or []) or ["5m"]
    work = GridBacktest(
        settings,
        grid.planned(settings, _listed(coin), intervals, horizons),
        _listed([policy]),
        days=days,
        backend=backend or settings.retrain.backend,
        quiet=as_json,
    )
    done = run_async(work.run())
    if done is None:
        echo(f"hyperdrift: interrupted; {work.resume}", err=True)
        sys.exit(INTERRUPTED)
    if page is not None:
        grid_page.write(page, done)
    if as_json:
        print_json(report.document(done))
    else:
        report.show(done)
        for line in report.written(done):
            echo(line)
    sys.exit(done.exit_code)


def _bars(given: list[str]) -> list[int]:
    """Return horizons as numbers.

    Raises:
        BadInput: If one is no whole number of bars.
    """
    for text in given:
        if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST_BARS):
            raise BadInput(f"--horizon {text!r} is not a number of bars, 1 to {_MOST_BARS}")
    return [int(text) for text in given]


def _listed(given: list[str]) -> list[str]:
    """Return the names in options that may be given several times or with commas."""
    return [name.strip() for one in given for name in one.split(",") if name.strip()]
