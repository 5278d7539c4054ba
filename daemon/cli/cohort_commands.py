"""The command that learns cohorts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.options import (
    CoinOption,
    ConfigOption,
    IntervalOption,
    JsonOption,
    echo,
    print_json,
    progress,
    settings_and_slot,
)

if TYPE_CHECKING:
    from daemon.cohorts.learning import TakenVolumes
    from daemon.config.schema import Config
    from hyperdrift.slot_name import SlotName

cohorts = typer.Typer(no_args_is_help=True, help="Find whose trades the market follows.")


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(cohorts, name="cohorts")


@cohorts.callback()
def group() -> None:
    """Find whose trades the market follows."""


@cohorts.command()
def learn(
    coin: CoinOption,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            readable=False,
            help="The venue's archive files of fills (.lz4); without any, the trades heard.",
        ),
    ] = None,
    interval: IntervalOption = "5m",
    horizon: Annotated[
        int, typer.Option(min=0, help="Bars after a trade that count; 0 is the slot's horizon.")
    ] = 0,
    until: Annotated[
        str, typer.Option(help="Only bars that opened up to this time or day, UTC.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("cohorts.csv"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find addresses that are surely better or worse than chance, and write a cohort file.

    Nothing is written if there are none. Judge a model that uses the file on later bars only.
    """
    from daemon.cohorts import cohort_csv, learning

    settings, slot = settings_and_slot(config, coin, interval)
    bars = horizon or learning.horizon_of(settings, slot)
    trades = _taken(settings, slot, files or [], until, as_json=as_json)
    learnt = learning.learn(slot, trades, bars)
    if learnt.members:
        cohort_csv.write(out, learnt.members)
    if as_json:
        print_json(learnt.document() | {"file": str(out) if learnt.members else None})
        return
    for line in learnt.lines():
        echo(line)
    if learnt.members:
        echo(f'written to {out}: name it as [features] cohort_file = "{out.resolve()}"')
    else:
        echo(f"nothing is written to {out}")


def _taken(
    settings: "Config", slot: "SlotName", files: list[Path], until: str, *, as_json: bool
) -> "TakenVolumes":
    from daemon.cohorts import learning
    from daemon.core.times import moment
    from daemon.store.data_folder import open_store

    end = moment(until, "--until", is_end=True) if until else None
    if files:
        size = sum(path.stat().st_size for path in files if path.exists())
        with progress("reading", size, quiet=as_json) as on_bytes:
            taken = learning.trades_of_archive(files, slot, on_bytes)
    else:
        with open_store(settings.data_dir, read_only=True) as store:
            taken = learning.heard(store, slot)
    return taken if end is None else learning.before(taken, end + 1)
