"""Commands about the messages to people."""

import sys

import typer

from daemon.cli.options import ConfigOption, JsonOption, echo, print_json

notify = typer.Typer(help="Messages to people: see whether they arrive.")


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(notify, name="notify", no_args_is_help=True)


@notify.callback()
def _group() -> None:
    """Make a group of it: with one command alone typer would drop the command's name."""


@notify.command("test")
def try_all(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Send one message to each service of the section notify, and say what each answered.

    Exit code 4 if one did not take it.
    """
    import logging

    from daemon.admin import notify_check
    from daemon.config import loader as configuration
    from daemon.core import logs

    logs.configure(logging.CRITICAL)  # what became of it is in the answer
    found = notify_check.try_services(configuration.load(config))
    if as_json:
        print_json(notify_check.document(found))
    else:
        for name, outcome in found:
            echo(f"{name}: {outcome}")
    sys.exit(0 if all(outcome.sent for _, outcome in found) else 4)
