"""Commands about the host that the daemon runs on."""

import sys

import typer

from daemon.cli.options import INTERRUPTED, ConfigOption, JsonOption, print_json, run_async


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command()(doctor)


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check all that the daemon needs: each line is ok or says what to do.

    Exit code 4 if venue or broker does not answer, else 1 for any fault.
    """
    import logging

    from daemon.admin import doctor as checks
    from daemon.config import loader as configuration
    from daemon.core import logs
    from hyperdrift.clock import SystemClock

    logs.configure(logging.CRITICAL)  # what it finds is in the answer
    settings, file = configuration.load(config), configuration.find(config)
    found = run_async(checks.check_up(settings, SystemClock(), file))
    if found is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(checks.document(found))
    else:
        checks.show(found)
    sys.exit(checks.exit_code(found))
