"""Commands that show what happens: the journal in words, and all slots on one screen."""

from typing import Annotated

import typer

from daemon.cli.options import ConfigOption, OnlySlotOption, echo, run_async

SinceOption = Annotated[
    str, typer.Option("--since", help="How long ago (2h, 3d), or a time in UTC (2026-01-31).")
]
KindOption = Annotated[
    list[str] | None,
    typer.Option("--kind", help="Only this kind of entry; again for more; `all` for every one."),
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=0, help="The newest so many (100, or 10,000 with --since).")
]


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command()(journal)
    app.command()(top)


def journal(
    since: SinceOption = "",
    slot: OnlySlotOption = "",
    kind: KindOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries.")] = False,
    limit: LimitOption = 0,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """Show what happened, in words, the newest last; the daemon need not run."""
    import logging

    from daemon.admin import journal_reading as reading
    from daemon.admin.journal_printing import JournalPrinter
    from daemon.config import loader as configuration
    from daemon.core import logs
    from daemon.store.data_folder import open_store
    from hyperdrift.clock import SystemClock

    logs.configure(logging.ERROR)
    settings, clock = configuration.load(config), SystemClock()
    with open_store(settings.data_dir, read_only=True) as store:
        wanted = reading.JournalFilter(
            slot=reading.known_slot(settings, store, slot) if slot else None,
            kinds=reading.known_kinds(store, kind or ()),
            since_ms=reading.ago(since, clock.now_ms()) if since else None,
            limit=limit or (reading.MOST if since else reading.NEWEST),
        )
        found = reading.newest(store, wanted)
        _note(reading.note(store, wanted, found))
    printer = JournalPrinter(settings.slots, as_json=as_json)
    for line in found.lines:
        printer.show(line)
    if follow:
        run_async(reading.follow(settings, wanted, found.seq, clock, printer.show))


def top(config: ConfigOption = None) -> None:
    """Show every slot on one screen, live; Enter opens one, `q` leaves."""
    import logging

    from daemon.admin.top import live_top, terminal
    from daemon.config import loader as configuration
    from daemon.core import logs
    from hyperdrift.clock import SystemClock

    logs.configure(logging.CRITICAL)  # a log line would stand in the middle of the screen
    terminal.expect()
    run_async(live_top.show(configuration.load(config), SystemClock()))


def _note(text: str) -> None:
    """Print on stderr what is no part of the result, if there is anything."""
    if text:
        echo(text, err=True)
