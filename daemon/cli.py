"""The command line: one thin function a command, everything heavy imported inside it.

`--help` has to answer at once, and importing scikit-learn alone takes longer than that.
"""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from daemon.errors import DaemonError

app = typer.Typer(
    name="hyperdrift",
    help="Keep the model of a live Hyperliquid trading bot fresh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models = typer.Typer(help="The registry: which versions exist and which one is live.")
app.add_typer(models, name="models", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="TOML file [default: hyperdrift.toml, /etc/hyperdrift/hyperdrift.toml]"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
SlotOption = Annotated[str, typer.Option("--slot", help="For example BTC-5m.")]
CoinOption = Annotated[str, typer.Option("--coin", help="As the venue writes it, e.g. BTC.")]
IntervalOption = Annotated[str, typer.Option("--interval", help="5m, 1h, 12h, 24h, ...")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Candles: Parquet, CSV or Feather [made up].")
]

INTERRUPTED = 130


def main() -> None:
    """Run a command; a person's mistake is one line on stderr and an exit code, no traceback."""
    try:
        app()
    except DaemonError as e:
        _fail(e)


def _fail(error: DaemonError) -> NoReturn:
    sys.stderr.write(f"hyperdrift: {error}\n")
    sys.exit(error.exit_code)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine until it is done or this process is asked to stop."""

    async def interruptible() -> Any:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, task.cancel)
        return await work

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        return None
    except BaseExceptionGroup as group:
        known = group.subgroup(DaemonError)
        if known is None or group.split(DaemonError)[1] is not None:
            raise  # a bug: show where
        _fail(_first(known))


def _first(error: BaseException) -> DaemonError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, DaemonError)
    return error


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


@app.command()
def run(config: ConfigOption = None, verbose: bool = False) -> None:
    """Run the daemon in the foreground."""
    from daemon import config as configuration
    from daemon import log
    from daemon.clock import SystemClock

    log.configure(logging.DEBUG if verbose else logging.INFO)
    settings = configuration.load(config)
    from daemon import app as daemon

    _run(daemon.run(settings, SystemClock()))


@app.command()
def demo(
    data: DataOption = None,
    speed: Annotated[
        float | None, typer.Option(help="Venue seconds per wall second [ten bars a second].")
    ] = None,
    until: Annotated[str, typer.Option(help="`swap` ends after one whole cycle.")] = "",
    timeout: Annotated[float, typer.Option(help="Give up after so many seconds; 0 never.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Run a whole cycle on this machine: exchange, broker, daemon and paper bot."""
    from daemon import log
    from daemon.clock import SystemClock
    from daemon.demo.demo import run_demo
    from daemon.demo.stage import Options

    if until not in {"", "swap"}:
        raise typer.BadParameter("write --until swap or leave it out")
    log.configure(logging.ERROR)  # the story is told on the screen
    options = Options(
        data=data, speed=speed, until_swap=until == "swap", timeout_s=timeout, quiet=as_json
    )
    summary = _run(run_demo(options, SystemClock()))
    if summary is None:
        sys.exit(INTERRUPTED)
    if as_json:
        _print_json(summary.document())
    sys.exit(summary.exit_code)


@app.command()
def exchange(
    data: DataOption = None,
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1.")] = 8765,
    speed: Annotated[float, typer.Option(help="Venue seconds per wall second.")] = 1.0,
    history: Annotated[int, typer.Option(help="Bars that are past when it starts.")] = 5000,
) -> None:
    """Replay candles in Hyperliquid's own protocol, for a client of your own."""
    from daemon.clock import SystemClock
    from daemon.demo.demo import serve_exchange
    from daemon.demo.stage import load_recording

    recording = load_recording(data)
    if not 0 < history < len(recording):
        raise typer.BadParameter(f"--history must be between 1 and {len(recording) - 1}")
    _run(serve_exchange(recording, SystemClock(), port=port, speed=speed, history=history))


@app.command("import")
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


@app.command()
def labels(coin: CoinOption, interval: IntervalOption = "5m", config: ConfigOption = None) -> None:
    """Show the shares of DOWN, NEUTRAL and UP for several horizons and thresholds."""
    from daemon import config as configuration
    from daemon.bars import SlotName, interval_name
    from daemon.imports import label_table

    settings = configuration.load(config)
    typer.echo(label_table(settings.data_dir, SlotName(coin, interval_name(interval))))


@app.command()
def retrain(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    deploy: Annotated[bool, typer.Option(help="Put it live if every gate passes.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the pipeline now on the stored bars; exit code 3 if a gate refuses."""
    from daemon import config as configuration
    from daemon import log
    from daemon.bars import SlotName, interval_name
    from daemon.clock import SystemClock
    from daemon.offline import retrain_once

    log.configure()
    settings = configuration.load(config)
    slot = SlotName(coin, interval_name(interval))
    result = _run(retrain_once(settings, slot, SystemClock(), deploy=deploy, quiet=as_json))
    if result is None:
        sys.exit(INTERRUPTED)
    if as_json:
        _print_json(result.document())
    sys.exit(result.exit_code)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what the running daemon is doing."""
    from daemon import config as configuration
    from daemon import console, log
    from daemon.clock import SystemClock

    log.configure(logging.ERROR)
    document = _run(console.status(configuration.load(config), SystemClock()))
    if as_json:
        _print_json(document)
    elif document is not None:
        console.show_status(document)


@app.command()
def command(
    name: Annotated[str, typer.Argument(help="retrain, rollback, promote, pause or resume")],
    slot: SlotOption,
    reason: Annotated[str, typer.Option(help="For the journal.")] = "",
    model: Annotated[str, typer.Option(help="Version to promote.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the running daemon to do something; exit code 3 if it declines."""
    from daemon import config as configuration
    from daemon import console, log
    from daemon.clock import SystemClock

    log.configure(logging.ERROR)
    settings = configuration.load(config)
    reply = _run(
        console.command(settings, SystemClock(), name, slot, reason=reason, model_id=model)
    )
    if reply is None:
        sys.exit(INTERRUPTED)
    if as_json:
        _print_json({"accepted": reply.accepted, "detail": reply.detail})
    else:
        typer.echo(("accepted: " if reply.accepted else "declined: ") + reply.detail)
    sys.exit(0 if reply.accepted else 3)


@models.command("list")
def list_models(slot: SlotOption, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List every version of a slot, newest first."""
    from daemon import config as configuration
    from daemon import console

    settings = configuration.load(config)
    found = console.versions(settings, slot)
    if as_json:
        _print_json(found)
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


if __name__ == "__main__":
    main()
