"""The command that fills the store from files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daemon.cli.options import (
    CoinOption,
    ConfigOption,
    IntervalOption,
    JsonOption,
    echo,
    locked_folder,
    print_json,
    progress,
    settings_and_slot,
)

if TYPE_CHECKING:
    from daemon.config.schema import Config
    from daemon.ingest.tables.reading import Wanted
    from hyperdrift.slot_name import SlotName

_SHAPES = "CSV, JSON, Parquet or Feather, also compressed; or the venue's archive (.lz4)."


def add(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command("import")(import_)


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(readable=False, help=_SHAPES),  # the error of reading it says more
    ],
    coin: CoinOption,
    interval: IntervalOption = "5m",
    kind: Annotated[str, typer.Option(help="bars or funding")] = "bars",
    columns: Annotated[
        str, typer.Option(help="Which column is what: time=Datum,open=2; coin= for none.")
    ] = "",
    day_first: Annotated[
        bool | None,
        typer.Option("--day-first/--month-first", help="How dates like 03/04/2026 begin."),
    ] = None,
    tz: Annotated[str, typer.Option(help="Zone of times that name none (UTC).")] = "",
    stamp: Annotated[str, typer.Option(help="What times of bars name: open or close.")] = "",
    decimal: Annotated[str, typer.Option(help="Decimal mark of numbers: . or ,")] = "",
    rate: Annotated[str, typer.Option(help="What a rate is: fraction/1h, percent/8h, ...")] = "",
    dry_run: Annotated[bool, typer.Option(help="Show what would be read; write nothing.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill the store from files, for history beyond the venue's reach.

    What the venue confirmed is never replaced by a file; bars that were pushed or filled in are.
    """
    from daemon.ingest.tables.reading import described

    settings, slot = settings_and_slot(config, coin, interval)
    wanted = described(
        columns=columns, day_first=day_first, tz=tz, stamp=stamp, decimal=decimal, rate=rate
    )
    if dry_run:
        _preview(settings, slot, files, kind, wanted, as_json=as_json)
    else:
        _import(settings, slot, files, kind, wanted, config=config, as_json=as_json)


def _import(
    settings: "Config",
    slot: "SlotName",
    files: list[Path],
    kind: str,
    wanted: "Wanted",
    *,
    config: Path | None,
    as_json: bool,
) -> None:
    from daemon.ingest.importer import import_files
    from daemon.market_data.order_flow import read_cohorts
    from daemon.store.data_folder import open_store
    from hyperdrift.clock import SystemClock

    cohorts = read_cohorts(path) if (path := settings.features.cohort_file) else None
    documents = []
    with (
        locked_folder(settings.data_dir),
        open_store(settings.data_dir) as store,
        progress("reading", _bytes(files), quiet=as_json) as on_bytes,
    ):
        for report in import_files(
            store,
            slot,
            files,
            kind,
            now_ms=SystemClock().now_ms(),
            wanted=wanted,
            cohorts=cohorts,
            keep_takers_ms=settings.keep_takers_ms,
            config=config,
            on_bytes=on_bytes,
        ):
            documents.append(report.document())
            if not as_json:
                _show(str(report), report.notes)
    if as_json:
        print_json({"slot": str(slot), "files": documents})


def _preview(
    settings: "Config",
    slot: "SlotName",
    files: list[Path],
    kind: str,
    wanted: "Wanted",
    *,
    as_json: bool,
) -> None:
    from daemon.ingest.preview import preview
    from hyperdrift.clock import SystemClock

    documents = []
    with progress("reading", _bytes(files), quiet=as_json) as on_bytes:
        for seen in preview(
            settings.data_dir,
            slot,
            files,
            kind,
            now_ms=SystemClock().now_ms(),
            wanted=wanted,
            on_bytes=on_bytes,
        ):
            documents.append(seen.document())
            if not as_json:
                _show(str(seen), seen.notes)
    if as_json:
        print_json({"slot": str(slot), "dry_run": True, "files": documents})


def _bytes(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.exists())


def _show(line: str, notes: tuple[str, ...]) -> None:
    echo(line)
    if notes:
        echo(f"  judged: {'; '.join(notes)}")
