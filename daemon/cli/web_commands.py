"""Commands of the status page: its address and its token."""

from typing import Annotated

import typer

from daemon.cli.options import ConfigOption, JsonOption, echo, print_json

web = typer.Typer(help="The status page: its address, and the token that operators sign in with.")


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(web, name="web", no_args_is_help=True)


@web.callback()
def _group() -> None:
    """Keep `token` a command of the group, although it is the only one."""


@web.command()
def token(
    config: ConfigOption = None,
    new: Annotated[
        bool, typer.Option("--new", help="Replace it; everybody who is signed in is signed out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the address of the status page, and the token to sign in with."""
    from daemon.admin import page_check
    from daemon.config import loader as configuration

    settings = configuration.load(config)
    value = page_check.token(settings, new=new)
    if as_json:
        print_json({"address": settings.web.url, "token": value})
    else:
        echo(f"{settings.web.url}\ntoken: {value}")
    if stranger := page_check.stranger(settings):
        echo(f"hyperdrift: {stranger}: type the token in nowhere there", err=True)
