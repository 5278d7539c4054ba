"""Each command that takes `--json` writes one document on stdout, and no detail on stderr."""

import asyncio
import inspect
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from daemon.cli.main import app
from daemon.core.bars import Provenance
from daemon.registry.keys import own_signer
from daemon.registry.registry import Registry
from daemon.store import taker_table
from daemon.store.data_folder import open_store
from daemon.web.server.page_token import PageToken
from hyperdrift.slot_name import DAY_MS, SlotName
from tests.daemon.admin import test_prediction_export
from tests.daemon.brokers import Embedded
from tests.daemon.fake_venue import START, STEP, FakeVenue, bar, hourly, serving
from tests.daemon.versions import write_version

ROOT = Path(__file__).parents[3]
SLOT = SlotName("BTC", "5m")
BARS = [bar(k, volume=1.0 + k % 7, close=100.0 + k % 5) for k in range(700)]
RATES = hourly(START, 60)
NAMED = ("--coin", SLOT.coin, "--interval", "5m")
ELSEWHERE = {
    ("command",): "tests/system/test_by_hand.py",
    ("demo",): "tests/system/test_demo.py",
    ("retrain",): "tests/daemon/training/test_one_shot.py",
    ("backtest",): "tests/daemon/backtest/test_backtest.py",
    ("notify", "test"): "tests/daemon/admin/test_notify_check.py",
}
"""Commands that take too long for here, and what runs them."""


def fill(folder: Path) -> list[str]:
    """Prepare a data folder with bars, rates and two versions; return the versions."""
    with open_store(folder) as store:
        store.put_bars(SLOT, BARS, Provenance.IMPORT)
        store.put_funding(SLOT.coin, RATES)
        taken = {one.t: {f"0x{1:040x}": 1.0} for one in BARS}
        taker_table.put(store.database, SLOT, taken, 99 * DAY_MS)
        served, scored = test_prediction_export.served, test_prediction_export.scored
        live = served(test_prediction_export.START, "a", down=0.3, up=0.3)
        test_prediction_export.journal(store, live, scored(0, "a"))
    registry = Registry(folder / "models", own_signer(folder))
    made = [registry.adopt(SLOT, write_version(folder.parent / str(n), n)) for n in (1, 2)]
    PageToken(folder).replace()
    registry.deploy(SLOT, made[0], reason="a test", by="test", at_ms=1_760_000_000_000)
    return made


def commands(folder: Path, versions: list[str]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the options of each command that takes `--json`, in an order that works."""
    whose = ("--slot", str(SLOT))
    return {
        ("bars", "export"): (str(folder / "bars.csv"), *NAMED),
        ("import",): (str(folder / "bars.csv"), *NAMED),
        ("bars", "sources"): NAMED,
        ("bars", "verify"): NAMED,  # its first call fails once
        ("backfill",): NAMED,
        ("bars", "forget"): (*NAMED, "--source", "bars.csv"),
        ("bars", "gaps"): NAMED,
        ("bars", "venue"): (),
        ("bars", "backup"): (str(folder / "copy.sqlite"),),
        ("labels",): NAMED,
        ("parity",): NAMED,
        ("cohorts", "learn"): (*NAMED, "--out", str(folder / "cohorts.csv")),
        ("models", "list"): whose,
        ("models", "show"): (versions[0], *whose),
        ("models", "verify"): whose,
        ("models", "predictions"): (str(folder / "predictions.csv"), *NAMED),
        ("models", "promote"): (versions[1], *whose, "--reason", "a test"),
        ("models", "rollback"): whose,
        ("models", "prune"): whose,
        ("keygen",): ("--out", str(folder / "operator")),
        ("status",): (),
        ("journal",): ("--kind", "versions_pruned"),  # a document for each entry: of one
        ("web", "token"): (),
        ("doctor",): (),
    }


def with_json(typed: typer.Typer, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command that takes `--json`."""
    for one in typed.registered_commands:
        assert one.callback is not None
        if "as_json" in inspect.signature(one.callback).parameters:
            yield (*before, one.name or one.callback.__name__)
    for group in typed.registered_groups:
        assert group.typer_instance is not None
        yield from with_json(group.typer_instance, (*before, group.name or ""))


async def test_each_command_writes_one_document_on_stdout_and_no_detail_on_stderr(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    versions = await asyncio.to_thread(fill, data)
    asked, broker = commands(tmp_path, versions), Embedded(tmp_path)
    forgotten = set(with_json(app)) - {*asked, *ELSEWHERE}
    assert not forgotten, "add to `commands` with which options they run on this folder"
    assert all((ROOT / path).is_file() for path in ELSEWHERE.values())
    fake = FakeVenue(lambda: START + 700 * STEP + 30_000, funding=RATES)
    fake.put(BARS)
    fake.faults.append((500, "null"))
    await broker.start()
    try:
        async with serving(fake) as venue:
            config = tmp_path / "hyperdrift.toml"
            config.write_text(
                f'[daemon]\ndata_dir = "{data}"\n[[slots]]\ncoin = "BTC"\n'
                f'[mqtt]\nbroker = "{broker.url}"\n'
                f'[hyperliquid]\nrest_url = "{venue.url}"\nws_url = "ws://127.0.0.1:9"\n'
            )
            lines = [
                [*name, *rest, "--json", "--config", str(config)] for name, rest in asked.items()
            ]
            runner = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.daemon.cli.command_runner"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
                env=os.environ | {"HYPERDRIFT_WEB__LISTEN": "127.0.0.1:9"},  # nothing listens
            )
            out, _ = await runner.communicate(json.dumps(lines).encode())
    finally:
        await broker.stop()
    ended = dict(zip(asked, json.loads(out), strict=True))
    for name, end in ended.items():
        assert end["out"], f"{name}: {end}"
        assert isinstance(json.loads(end["out"]), (dict, list)), name
        assert end["err"] == "", name
    codes = {name: end["code"] for name, end in ended.items() if end["code"]}
    assert codes == {("doctor",): 4}  # this venue has no stream
