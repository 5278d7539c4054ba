"""The options that commands share, how a command runs and how it ends."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from hyperdrift.errors import HyperdriftError

if TYPE_CHECKING:
    from daemon.config.schema import Config
    from hyperdrift.slot_name import SlotName

_CONFIGS: Final = (Path("hyperdrift.toml"), Path("/etc/hyperdrift/hyperdrift.toml"))


def slot_names(incomplete: str) -> list[str]:
    """Return the slots of the configuration that begin so, for a shell; at once, or none."""
    import tomllib

    for path in _CONFIGS:
        try:
            slots = tomllib.loads(path.read_text("utf-8")).get("slots", ())
            names = [
                f"{coin}-{interval}"
                for each in slots
                for coin in _listed(each["coin"])
                for interval in _listed(each.get("interval", "5m"))
                if coin != "*"
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        return [name for name in names if name.lower().startswith(incomplete.lower())]
    return []


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        readable=False,  # the error of reading it says more than the parser's
        help="TOML file (default: hyperdrift.toml, /etc/hyperdrift/hyperdrift.toml)",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
SlotOption = Annotated[
    str,
    typer.Option(
        "--slot",
        help="For example BTC-5m (the slot, if only one is configured).",
        autocompletion=slot_names,
    ),
]
OnlySlotOption = Annotated[
    str,
    typer.Option("--slot", help="Only this slot, for example BTC-5m.", autocompletion=slot_names),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", help="Private key that signs the command (the daemon's, if readable)."),
]
CoinOption = Annotated[str, typer.Option("--coin", help="As the venue writes it, e.g. BTC.")]
IntervalOption = Annotated[str, typer.Option("--interval", help="5m, 1h, 12h, 24h, ...")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Candles: Parquet, CSV or Feather (made up).")
]

INTERRUPTED = 130
_NAMED = 8

Progress = Callable[[float], None]


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a line, or several, with nothing in them that a terminal obeys."""
    from daemon.core.outside_text import escaped

    out = sys.stderr if err else sys.stdout
    out.write(escaped(str(text)) + "\n")
    out.flush()


def fail(error: HyperdriftError) -> NoReturn:
    """Exit with the code of the error and one line on stderr, of high priority in journald."""
    from daemon.core.logs import mark
    from daemon.service.systemd_notify import SystemdNotifier

    SystemdNotifier().status(f"failed: {error}")
    echo(f"{mark('error', sys.stderr)}hyperdrift: {error}", err=True)
    sys.exit(error.exit_code)


def run_async(work: Coroutine[Any, Any, Any]) -> Any:
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
        known = group.subgroup(HyperdriftError)
        if known is None or group.split(HyperdriftError)[1] is not None:
            raise  # a bug: show the traceback
        fail(_first(known))


def _first(error: BaseException) -> HyperdriftError:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, HyperdriftError)
    return error


@contextmanager
def progress(what: str, total: float | None, *, quiet: bool = False) -> Iterator[Progress]:
    """Show a progress bar on stderr, on a terminal only; yield the function that advances it."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from daemon.core.terminal.console import EscapingConsole

    console = EscapingConsole(stderr=True)
    columns = (TextColumn("{task.description:24}"), BarColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Bar(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, advance=done)


def settings_and_slot(config: Path | None, coin: str, interval: str) -> "tuple[Config, SlotName]":
    """Return the configuration and the slot that a command is for.

    Raises:
        ConfigError: If the configuration cannot be used.
        BadInput: If the venue has no such interval.
    """
    from daemon.config import loader as configuration
    from hyperdrift.slot_name import SlotName, interval_name

    return configuration.load(config), SlotName(coin, interval_name(interval))


def chosen(settings: "Config", slot: str) -> str:
    """Return the slot that a command is for: the one named, or else the only one.

    Raises:
        typer.BadParameter: If none is named and not one alone is configured.
    """
    names = [str(section.name) for section in settings.slots]
    if not slot and len(names) != 1:
        known = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
        raise typer.BadParameter(f"write --slot {known or 'BTC-5m'}")
    return slot or names[0]


@contextmanager
def locked_folder(data_dir: Path) -> Iterator[None]:
    """Hold the lock of a data folder; at the end, say what to do about files that root left there.

    Raises:
        HyperdriftError: As `folder_lock`.
    """
    from daemon.store.folder_lock import folder_lock, left_by_root

    try:
        with folder_lock(data_dir):
            yield
    finally:
        if remedy := left_by_root(data_dir):
            echo(f"hyperdrift: {remedy}", err=True)


def print_json(document: Any) -> None:
    """Write one document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
