"""Commands of the registry and its keys: list, verify, promote, roll back, prune, make keys."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from daemon.cli.options import (
    INTERRUPTED,
    CoinOption,
    ConfigOption,
    IntervalOption,
    JsonOption,
    KeyOption,
    OnlySlotOption,
    SlotOption,
    chosen,
    echo,
    print_json,
    run_async,
    settings_and_slot,
)

models = typer.Typer(help="The registry: which versions exist and which one is live.")

ModelArgument = Annotated[
    str, typer.Argument(help="A version from `models list`; its beginning will do.")
]
REFUSED = 3


def add(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(models, name="models", no_args_is_help=True)
    app.command()(keygen)


@models.command("list")
def list_models(
    slot: OnlySlotOption = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """List every version of a slot, or of all slots, newest first."""
    from daemon.admin import version_view
    from daemon.config import loader as configuration

    found = version_view.versions(configuration.load(config), slot)
    if as_json:
        print_json(found)
    else:
        version_view.show_versions(found)


@models.command()
def show(
    model_id: ModelArgument,
    slot: SlotOption = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a version says of itself: gates, scores, files."""
    from daemon.admin import version_view
    from daemon.config import loader as configuration

    settings = configuration.load(config)
    found = version_view.show(settings, chosen(settings, slot), model_id)
    if as_json:
        print_json(found)
    else:
        version_view.show_version(found)


@models.command()
def verify(
    slot: SlotOption = "",
    model_id: Annotated[str, typer.Argument(help="One version (the pointer and all).")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check signatures, digests and golden rows, as a bot does; exit code 3 if one is refused."""
    from daemon.admin import version_view
    from daemon.config import loader as configuration

    settings = configuration.load(config)
    found = version_view.verify(settings, chosen(settings, slot), model_id)
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        version_view.show_findings(found)
    sys.exit(REFUSED if any(finding.problem for finding in found) else 0)


@models.command()
def promote(
    model_id: ModelArgument,
    reason: Annotated[str, typer.Option(help="For the journal and the bots' logs.")],
    slot: SlotOption = "",
    key: KeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a version live by hand, whatever its gates said; this is recorded as such."""
    _move(slot, model_id, reason=reason, key=key, config=config, as_json=as_json, back=False)


@models.command()
def rollback(
    slot: SlotOption = "",
    to: Annotated[str, typer.Option(help="Version (what was live before).")] = "",
    reason: Annotated[str, typer.Option(help="For the journal and the bots' logs.")] = "",
    key: KeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier version back live; also where LATEST.json is lost or damaged."""
    _move(slot, to, reason=reason, key=key, config=config, as_json=as_json, back=True)


def _move(
    slot: str,
    model_id: str,
    *,
    reason: str,
    key: Path | None,
    config: Path | None,
    as_json: bool,
    back: bool,
) -> None:
    from daemon.admin import manual_deploy, version_view
    from daemon.config import loader as configuration
    from daemon.core import logs
    from daemon.core.users import user_name
    from hyperdrift.clock import SystemClock
    from hyperdrift.slot_name import SlotName

    logs.configure(logging.ERROR)
    settings, clock = configuration.load(config), SystemClock()
    slot = chosen(settings, slot)
    wanted = version_view.find(settings, slot, model_id) if model_id else ""
    wish = manual_deploy.DeployRequest(
        slot=SlotName.parse(slot), by=user_name(), reason=reason.strip()
    )
    if not wish.reason and not back:
        raise typer.BadParameter("write --reason in a few words: it stands in the journal")
    bench = manual_deploy.ManualDeploy(settings, clock, key)
    moved = run_async(bench.rollback(wish, wanted) if back else bench.promote(wish, wanted))
    if moved is None:
        sys.exit(INTERRUPTED)
    if as_json:
        print_json(asdict(moved) | {"by": wish.by, "reason": wish.reason})
    else:
        echo(f"{moved.model_id} is live, before it {moved.previous_id} (through {moved.through})")


@models.command()
def prune(
    slot: SlotOption = "",
    keep: Annotated[int, typer.Option(min=1, help="Newest versions that stay.")] = 30,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove old versions; the live, the previous and the last good one always stay."""
    from daemon.admin import manual_deploy
    from daemon.config import loader as configuration
    from daemon.core.users import user_name
    from hyperdrift.clock import SystemClock
    from hyperdrift.slot_name import SlotName

    settings = configuration.load(config)
    bench, name = manual_deploy.ManualDeploy(settings, SystemClock()), chosen(settings, slot)
    wish = manual_deploy.DeployRequest(slot=SlotName.parse(name), by=user_name(), reason="")
    removed = bench.prune(wish, keep)
    if as_json:
        print_json({"removed": list(removed)})
    else:
        echo("\n".join(f"removed {model_id}" for model_id in removed) or "nothing to remove")


@models.command()
def predictions(
    file: Annotated[Path, typer.Argument(help="*.csv, *.parquet, *.feather or *.json")],
    coin: CoinOption,
    interval: IntervalOption = "5m",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what the live models predicted to a file, for a bot's backtest."""
    from daemon.admin import prediction_export
    from daemon.core.times import utc
    from daemon.store.data_folder import open_store

    settings, slot = settings_and_slot(config, coin, interval)
    with open_store(settings.data_dir, read_only=True) as store:
        done = prediction_export.export(store, slot, file)
    if as_json:
        print_json({"slot": str(slot), "file": str(file), **done.document()})
        return
    span = f"{utc(done.first_t)} to {utc(done.last_t)} UTC, of {done.models} versions"
    echo(f"{done.predictions} predictions of {slot} are in {file}: {span}")
    if done.left_out:
        echo(f"{done.left_out} left out: their version went live after the bar's close")


def keygen(
    out: Annotated[
        Path | None,
        typer.Option(help="Where to put an operator's key: FILE.key and FILE.pub (the daemon's)."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an Ed25519 key pair, sign what is live with it; an existing one is never overwritten."""
    from daemon.admin import manual_deploy
    from daemon.config import loader as configuration
    from daemon.registry import keys
    from daemon.registry.signing import generate

    if out is not None:
        out = out.absolute()
        stem = out.with_suffix("") if out.suffix in {".key", ".pub"} else out
        private, public = (stem.parent / f"{stem.name}{ending}" for ending in (".key", ".pub"))
        generate(private, public)
    else:
        settings = configuration.load(config)
        private, public = keys.private_path(settings.data_dir), keys.public_path(settings.data_dir)
        manual_deploy.new_keys(settings)
    if as_json:
        print_json({"private": str(private), "public": str(public)})
        return
    echo(f"private key {private}, for its owner alone")
    if out is None:
        echo(f"public key  {public}, for bots:\npublic_key={str(public)!r}")
    else:  # a JSON list of texts is a TOML list too
        echo(f"public key  {public}, for the daemon: put this line under [mqtt]")
        echo(f"command_keys = {json.dumps([str(public)], ensure_ascii=False)}")
