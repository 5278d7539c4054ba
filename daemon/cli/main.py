"""The command line: one thin function for each command, which imports what it needs.

`--help` must answer at once, and importing scikit-learn alone takes longer than that.
"""

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from typer._completion_classes import completion_init

from daemon.cli import (
    backtest_command,
    cohort_commands,
    host_commands,
    import_command,
    model_commands,
    notify_commands,
    store_commands,
    training_commands,
    watch_commands,
    web_commands,
)
from daemon.cli.options import (
    INTERRUPTED,
    ConfigOption,
    DataOption,
    JsonOption,
    KeyOption,
    SlotOption,
    chosen,
    echo,
    fail,
    print_json,
    run_async,
)
from daemon.core.errors import HostRefused
from daemon.core.users import user_name
from daemon.service import standard_streams
from hyperdrift.errors import ConfigError, HyperdriftError

# What the host may refuse to any command, and what to do.
_REMEDIES: Final = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room, or raise the quota of this user",
    errno.EROFS: "mount it for writing, or name another place",
    errno.EMFILE: "let a process have more files (`ulimit -n`)",
    errno.ENFILE: "let the host have more open files (`sysctl fs.file-max`)",
    errno.EIO: "look at the disk (`dmesg`)",
}

COMPLETE: Final = "_HYPERDRIFT_COMPLETE"
"""With this variable a shell asks what a command line may go on with."""

app = typer.Typer(
    name="hyperdrift",
    help="Keep the model of a live Hyperliquid trading bot fresh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run a command; a user's mistake gives one line on stderr and an exit code, no traceback."""
    standard_streams.secure()
    if COMPLETE in os.environ:
        completion_init()
    try:
        try:
            app(prog_name="hyperdrift")
        finally:
            standard_streams.flush()
    except HyperdriftError as e:
        fail(e)
    except PermissionError as e:
        whose = "run this with sudo, or as the user whose file it is"
        fail(ConfigError(f"{e.filename}: {e.strerror}; {whose}"))
    except OSError as e:
        if (remedy := _REMEDIES.get(e.errno or 0)) is None:
            raise
        standard_streams.drop()
        fail(HostRefused(f"{e.filename or 'what this prints'}: {e.strerror}; {remedy}"))


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        echo(f"hyperdrift {version('hyperdrift')}")
        raise typer.Exit


@app.callback()
def quiet(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """Keep the model of a live Hyperliquid trading bot fresh."""
    # Every command logs to stderr: stdout is for results, and a terminal for no details.
    from daemon.core import logs

    logs.configure(logging.WARNING)


@app.command()
def run(
    config: ConfigOption = None,
    verbose: Annotated[bool, typer.Option(help="Log lines of level debug too.")] = False,
) -> None:
    """Run the daemon in the foreground."""
    import faulthandler
    import signal

    import structlog

    # SIGHUP during the start must not end the process; nothing handles it yet.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from daemon.config import loader as configuration
    from daemon.core import logs
    from hyperdrift.clock import SystemClock

    faulthandler.enable()  # a watchdog's SIGABRT shows where each thread is stuck
    logs.configure(logging.DEBUG if verbose else logging.INFO)
    settings = configuration.load(config)
    from daemon import app as daemon
    from hyperdrift.process.loading import spare_loop

    spare_loop()
    try:
        run_async(daemon.run(settings, SystemClock(), lambda: configuration.load(config)))
    except HyperdriftError:
        raise
    except PermissionError as e:
        whose = f"it has to be {user_name()}'s, `sudo hyperdrift doctor` says how"
        raise ConfigError(f"{e.filename}: {e.strerror}; {whose}") from e
    except Exception as e:  # noqa: BLE001 - whatever it is, one line that a filter finds
        from daemon.service.systemd_notify import SystemdNotifier

        SystemdNotifier().status(f"failed: {type(e).__name__}: {e}")
        remedy = "this is a fault of hyperdrift: report it with this line"
        structlog.get_logger().critical("daemon.crashed", remedy=remedy, exc_info=True)
        sys.exit(1)


@app.command()
def demo(
    data: DataOption = None,
    coins: Annotated[int, typer.Option(help="How many coins to make up, each with a slot.")] = 1,
    speed: Annotated[
        float | None, typer.Option(help="Venue seconds per wall second (ten bars a second).")
    ] = None,
    until: Annotated[str, typer.Option(help="`swap` ends after one whole cycle.")] = "",
    timeout: Annotated[
        float, typer.Option(min=0, help="Give up after so many seconds; 0 never.")
    ] = 0.0,
    hold: Annotated[
        bool, typer.Option("--hold", help="Keep the status page after the end, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a whole cycle on this machine: exchange, broker, daemon, paper bot and status page."""
    from daemon.core import logs
    from daemon.demo.demo import run_demo
    from daemon.demo.setup import Options
    from hyperdrift.clock import SystemClock

    if until not in {"", "swap"}:
        raise typer.BadParameter("write --until swap or leave it out")
    if data and coins != 1:
        raise typer.BadParameter("write --data or --coins, not both")
    logs.configure(logging.ERROR)  # the demo prints its own lines
    options = Options(
        data=data,
        speed=speed,
        until_swap=until == "swap",
        timeout_s=timeout,
        quiet=as_json,
        hold=hold,
        coins=coins,
    )
    summary = run_async(run_demo(options, SystemClock()))
    if summary is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(summary.document())
    sys.exit(summary.exit_code)


@app.command()
def exchange(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Candles: Parquet, CSV or Feather, or a folder of them; may be given again "
            "(made up)."
        ),
    ] = None,
    coins: Annotated[int, typer.Option(help="How many coins to make up.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port on 127.0.0.1.")] = 8765,
    speed: Annotated[float, typer.Option(help="Venue seconds per wall second.")] = 1.0,
    history: Annotated[
        int, typer.Option(help="Bars, of the shortest, that are past when it starts.")
    ] = 5000,
    faults: Annotated[
        Path | None, typer.Option(help="TOML file of what goes wrong, and when.")
    ] = None,
) -> None:
    """Replay candles in Hyperliquid's own protocol, for a client of your own."""
    from daemon.demo.demo import serve_exchange
    from daemon.demo.fault_script import read_script
    from daemon.demo.setup import load_recordings
    from hyperdrift.clock import SystemClock

    if data and coins != 1:
        raise typer.BadParameter("write --data or --coins, not both")
    run_async(
        serve_exchange(
            load_recordings(data or (), coins),
            SystemClock(),
            port=port,
            speed=speed,
            history=history,
            faults=read_script(faults) if faults else (),
        )
    )


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the running daemon is doing."""
    from daemon.admin import status_text, status_view
    from daemon.config import loader as configuration
    from daemon.core import logs
    from hyperdrift.clock import SystemClock

    logs.configure(logging.ERROR)
    document = run_async(status_view.status(configuration.load(config), SystemClock()))
    if document is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(document)
    else:
        status_text.show_status(document)


@app.command()
def command(
    name: Annotated[str, typer.Argument(help="retrain, rollback, promote, pause or resume")],
    slot: SlotOption = "",
    reason: Annotated[str, typer.Option(help="For the journal.")] = "",
    model: Annotated[str, typer.Option(help="Version to promote, or to go back to.")] = "",
    key: KeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the running daemon to do something; exit code 3 if it declines."""
    from daemon.admin import status_view
    from daemon.config import loader as configuration
    from daemon.core import logs
    from hyperdrift.clock import SystemClock

    logs.configure(logging.ERROR)
    settings = configuration.load(config)
    reply = run_async(
        status_view.command(
            settings,
            SystemClock(),
            name,
            chosen(settings, slot),
            reason=reason,
            model_id=model,
            by=user_name(),
            key=key,
        )
    )
    if reply is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json({"accepted": reply.accepted, "detail": reply.detail})
    else:
        echo(("accepted: " if reply.accepted else "declined: ") + reply.detail)
    sys.exit(0 if reply.accepted else 3)


for commands in (
    *(import_command, store_commands, training_commands, backtest_command, model_commands),
    *(cohort_commands, host_commands, notify_commands, watch_commands, web_commands),
):
    commands.add(app)
