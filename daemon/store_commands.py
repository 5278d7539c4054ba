"""Commands that fill the bar store and look into it."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.terminal import (
    CoinOption,
    ConfigOption,
    IntervalOption,
)


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command("import")(import_)


def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV, Parquet, Feather or JSON lines.")],
    coin: CoinOption,
    interval: IntervalOption = "5m",
    kind: Annotated[str, typer.Option(help="bars or funding")] = "bars",
    config: ConfigOption = None,
) -> None:
    """Fill the store from files, for history beyond the venue's reach."""
    from daemon import config as configuration
    from daemon.bars import SlotName, interval_name
    from daemon.imports import import_files

    settings = configuration.load(config)
    slot = SlotName(coin, interval_name(interval))
    for line in import_files(settings.data_dir, slot, files, kind):
        typer.echo(line)
