"""Commands of the registry: which versions exist, which one is live, and is it whole."""

from typing import Annotated

import typer

from daemon.terminal import (
    ConfigOption,
    JsonOption,
    SlotOption,
    print_json,
)

models = typer.Typer(help="The registry: which versions exist and which one is live.")


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(models, name="models", no_args_is_help=True)


@models.command("list")
def list_models(slot: SlotOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every version of a slot, newest first."""
    from daemon import config as configuration
    from daemon import console

    settings = configuration.load(config)
    found = console.versions(settings, slot)
    if as_json:
        print_json(found)
    else:
        console.show_versions(found)


@models.command()
def verify(
    model_id: Annotated[str, typer.Argument(help="A version from `models list`.")],
    slot: SlotOption,
    config: ConfigOption = None,
) -> None:
    """Compare every file of a version with its digest."""
    from daemon import config as configuration
    from daemon import console

    typer.echo(console.verify(configuration.load(config), slot, model_id))
