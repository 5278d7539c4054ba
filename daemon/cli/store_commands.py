"""Commands that fill and inspect the store."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli import source_commands
from daemon.cli.options import (
    INTERRUPTED,
    CoinOption,
    ConfigOption,
    IntervalOption,
    JsonOption,
    echo,
    locked_folder,
    print_json,
    progress,
    run_async,
    settings_and_slot,
)

if TYPE_CHECKING:
    from daemon.ingest.store_report import Stretch

WRONG = 3

bars = typer.Typer(no_args_is_help=True, help="Look into the bar store.")


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command()(backfill)
    source_commands.add(bars)
    app.add_typer(bars, name="bars")


def backfill(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    days: Annotated[
        float, typer.Option(min=0, max=36500, help="How far back; the venue has 5000 bars.")
    ] = 180.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the store with what the venue still serves; the daemon must not run."""
    import logging

    from daemon.core import logs
    from daemon.core.bars import REACH_BARS
    from daemon.ingest import backfill_command as work
    from daemon.store.async_store import ThreadedStore
    from daemon.store.data_folder import open_store
    from hyperdrift.clock import SystemClock
    from hyperdrift.slot_name import DAY_MS

    logs.configure(logging.CRITICAL)  # the report below says what is lost
    settings, slot = settings_and_slot(config, coin, interval)
    wanted = min(REACH_BARS, days * DAY_MS / slot.interval_ms)
    with locked_folder(settings.data_dir), progress(f"{slot}", wanted, quiet=as_json) as on_bars:
        store = ThreadedStore(open_store(settings.data_dir))
        try:
            call = work.backfill(settings, slot, store, SystemClock(), days=days, on_bars=on_bars)
            filled = run_async(call)
        finally:
            store.close()
    if filled is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(filled.document())
        return
    echo(f"{slot}: {filled.added} bars and {filled.funding} rates added, {filled.bars} bars stored")
    for note in filled.notes:
        echo(note)
    _show(filled.gaps)


@bars.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="*.csv, *.parquet, *.feather or *.json")],
    coin: CoinOption,
    interval: IntervalOption = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the bars of a slot to a file that `import` reads back exactly."""
    from daemon.ingest.store_report import export
    from daemon.store.data_folder import open_store

    settings, slot = settings_and_slot(config, coin, interval)
    with open_store(settings.data_dir, read_only=True) as store:
        count = export(store, slot, file)
    if as_json:
        print_json({"slot": str(slot), "file": str(file), "bars": count})
    else:
        echo(f"{count} bars of {slot} are in {file}")


@bars.command()
def gaps(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List missing, filled and unconfirmed bars, and what helps."""
    from dataclasses import asdict

    from daemon.config.schema import NETWORKS
    from daemon.ingest.store_report import stretches
    from daemon.store.data_folder import open_store
    from hyperdrift.clock import SystemClock

    settings, slot = settings_and_slot(config, coin, interval)
    with open_store(settings.data_dir, read_only=True) as store:
        found = stretches(store, slot, SystemClock().now_ms())
        count = len(store.bars(slot)["t"])
    if as_json:
        rows = [asdict(stretch) for stretch in found]
        print_json({"slot": str(slot), "bars": count, "stretches": rows})
        return
    echo(f"{slot}: {count} bars stored")
    _show(found)
    venue = settings.hyperliquid.venue
    if venue not in NETWORKS and any(one.kind == "behind" for one in found):
        echo(f"behind is by this host's clock; if {venue} replays a recording, its own time counts")


@bars.command()
def verify(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the database and the bars, also against the venue; exit code 3 if one is wrong."""
    from daemon.core.errors import StoreCorrupt
    from daemon.ingest import backfill_command as work
    from daemon.ingest.store_verdict import damaged
    from daemon.store.async_store import ThreadedStore
    from daemon.store.data_folder import open_store
    from hyperdrift.clock import SystemClock

    settings, slot = settings_and_slot(config, coin, interval)
    try:
        store = ThreadedStore(open_store(settings.data_dir, read_only=True))
        try:
            verdict = run_async(work.verify_with_venue(settings, slot, store, SystemClock()))
        finally:
            store.close()
    except StoreCorrupt as e:
        verdict = damaged(slot, str(e))
    if verdict is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(verdict.document())
    else:
        for line in verdict.lines():
            echo(line)
    sys.exit(0 if verdict.sound else WRONG)


@bars.command()
def venue(
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Follow the configured one from now on.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which venue the stored bars are from, or adopt another address of the same market."""
    from contextlib import nullcontext

    from daemon.config import loader as configuration
    from daemon.store.data_folder import open_store
    from daemon.store.folder_lock import folder_lock
    from daemon.store.properties import record_venue, venue_of

    settings = configuration.load(config)
    configured, folder = settings.hyperliquid.venue, settings.data_dir
    with (
        folder_lock(folder) if adopt else nullcontext(),
        open_store(folder, read_only=not adopt) as store,
    ):
        before = venue_of(store)
        if adopt:
            record_venue(store, configured)
    if as_json:
        print_json({"before": before, "configured": configured, "adopted": adopt})
    else:
        held = f"the bars in {folder} are of {before or 'no venue yet'}"
        echo(f"{held}; " + ("they now count as" if adopt else "configured is") + f" {configured}")


@bars.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; must not exist.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the whole database as of this moment, also while the daemon writes it."""
    from daemon.config import loader as configuration
    from daemon.store.data_folder import open_store
    from hyperdrift.errors import BadInput

    if file.exists():
        raise BadInput(f"{file} exists: name another file")
    if not file.parent.is_dir():
        raise BadInput(f"{file.parent} is no folder: name a file in one that exists")
    with open_store(configuration.load(config).data_dir, read_only=True) as store:
        store.backup(file)
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        echo(f"{file}: {size / 2**20:.1f} MiB; to restore it, stop the daemon and put it in place")


def _show(found: "list[Stretch] | tuple[Stretch, ...]") -> None:
    from daemon.core.terminal.console import EscapingConsole
    from daemon.core.terminal.records import show_rows
    from daemon.core.times import utc

    if not found:
        echo("no gaps")
        return
    titles = ("", "from (UTC)", "to", "bars", "remedy")
    rows = [(one.kind, utc(one.from_t), utc(one.to_t), str(one.bars), one.remedy) for one in found]
    show_rows(EscapingConsole(highlight=False), titles, rows)
