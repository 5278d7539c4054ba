"""Commands that label, train and judge on the stored bars."""

import sys
from typing import Annotated

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


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command()(labels)
    app.command()(parity)
    app.command()(retrain)


def labels(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the shares of DOWN, NEUTRAL and UP for several horizons and thresholds.

    They are of the training block, the oldest 80 % of the bars; the row in force is marked.
    """
    from daemon.training.label_view import label_report

    report = label_report(*settings_and_slot(config, coin, interval))
    print_json(report.document()) if as_json else echo(report)


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
