"""Commands that list what was imported, and take it back."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.options import (
    INTERRUPTED,
    CoinOption,
    ConfigOption,
    IntervalOption,
    JsonOption,
    echo,
    print_json,
    run_async,
    settings_and_slot,
)


def add(bars: typer.Typer) -> None:
    """Put these commands below `bars`."""
    bars.command()(sources)
    bars.command()(forget)


def sources(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the imports of a slot and of its coin's funding, and how much of each is in force."""
    from daemon.store.data_folder import open_store

    settings, slot = settings_and_slot(config, coin, interval)
    with open_store(settings.data_dir, read_only=True) as store:
        found = store.imports.sources(slot)
    if as_json:
        print_json({"slot": str(slot), "sources": [source._asdict() for source in found]})
        return
    for source in found:
        echo(source)
    if not found:
        echo(f"{slot} has no imports")


def forget(
    coin: CoinOption,
    interval: IntervalOption = "5m",
    source: Annotated[str, typer.Option(help="The import, as `bars sources` names it.")] = "",
    from_: Annotated[str, typer.Option("--from", help="Only from this time on, UTC.")] = "",
    to: Annotated[str, typer.Option("--to", help="Only up to this time or day, UTC.")] = "",
    kind: Annotated[str, typer.Option(help="bars or funding")] = "bars",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take imports back: the store is then as if it never had them; the daemon must not run.

    What an import covered is in force again, and what the venue still serves is fetched.
    """
    import logging

    from daemon.core import logs
    from daemon.ingest import forget as work
    from daemon.store.async_store import ThreadedStore
    from daemon.store.data_folder import open_store
    from daemon.store.imported.sources import Scope
    from hyperdrift.clock import SystemClock

    span = work.span_of(kind, source, from_, to)
    logs.configure(logging.CRITICAL)  # the report below says what became of it
    settings, slot = settings_and_slot(config, coin, interval)
    with _alone(settings.data_dir):
        store = ThreadedStore(open_store(settings.data_dir))
        try:
            scope = Scope.of(slot, kind)
            call = work.forget(
                settings, scope, slot, store, SystemClock(), source=source or None, span=span
            )
            report = run_async(call)
        finally:
            store.close()
    if report is None:
        sys.exit(INTERRUPTED)
    print_json(report.document()) if as_json else echo(report)


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    from daemon.core.errors import DataFolderBusy
    from daemon.store.folder_lock import folder_lock

    with ExitStack() as held:
        try:
            held.enter_context(folder_lock(data_dir))
        except DataFolderBusy as e:
            who = str(e).partition(";")[0]
            raise DataFolderBusy(f"{who}: stop it, forget, and start it again") from e
        yield
