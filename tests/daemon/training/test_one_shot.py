"""`hyperdrift retrain`: what it does, what it says, and how it ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.config.schema import Config, DaemonSection, RetrainSection
from daemon.core.bars import Bar, Provenance
from daemon.core.errors import NotNow, RetrainFailedError
from daemon.registry import deployment_log
from daemon.registry.keys import own_signer
from daemon.registry.registry import Registry
from daemon.store.data_folder import open_store
from daemon.training.one_shot import RetrainResult, _deploy, retrain_once
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import START_MS, certificate, write_version
from tests.fakes import FakeClock

SLOT = SlotName("BTC", "5m")
CHILD = """
import json, pathlib, shutil, sys
folder = pathlib.Path(sys.argv[-1])
shutil.copytree({version!r}, folder / "candidate")
job = json.loads((folder / "job.json").read_text())
print(json.dumps({{"event": "progress", "step": "judge", "percent": 55}}))
gate = {{"event": "gate", "name": "overfit", "passed": False, "verdict": "learnt by heart"}}
print(json.dumps(gate))
print(json.dumps({{"event": "finished", "model_id": {model_id!r}, "passed": False,
                   "refused_by": ["overfit"], "manifest": "candidate/" + {manifest!r}}}))
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A data folder with bars, and a child that leaves a refused version."""
    manifest = write_version(tmp_path / "made", 3000, meta=certificate(refused=("overfit",)))
    model_id = json.loads(manifest.read_text())["model_id"]
    script = CHILD.format(version=str(manifest.parent), model_id=model_id, manifest=manifest.name)
    (tmp_path / "child.py").write_text(script)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
    python.chmod(0o755)
    made = Config(
        daemon=DaemonSection(data_dir=str(tmp_path / "data")),
        retrain=RetrainSection(python=str(python)),
        policy={"min_bars": 500},
    )
    store_bars(made, 600)
    return made


def store_bars(config: Config, count: int) -> None:
    store = open_store(config.data_dir)
    step = SLOT.interval_ms
    bars = [Bar(START_MS + i * step, 1.0, 2.0, 0.5, 1.0, 1.0) for i in range(count)]
    store.put_bars(SLOT, bars, Provenance.REST)
    store.close()


async def retrain(config: Config, **changes: bool) -> RetrainResult:
    options: dict[str, Any] = {"deploy": True, "force": False, "quiet": False} | changes
    return await retrain_once(config, SLOT, FakeClock(), **options)


def make_live(config: Config, tmp_path: Path) -> None:
    registry = Registry(config.data_dir / "models", own_signer(config.data_dir))
    model_id = registry.adopt(SLOT, write_version(tmp_path / "live", 1))
    registry.deploy(SLOT, model_id, reason="a test", by="test", at_ms=START_MS)


def test_a_deploy_without_a_daemon_stands_in_the_journal_with_who_and_why(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    registry = Registry(config.data_dir / "models", own_signer(config.data_dir))
    model_id = registry.adopt(SLOT, write_version(tmp_path / "new", 1))
    with open_store(config.data_dir) as store:
        _deploy(registry, store, SLOT, model_id, START_MS)
        move = deployment_log.newest(store, SLOT)
    assert move is not None
    assert (move["model_id"], move["by"]) == (model_id, "alice")
    assert move["reason"] == "hyperdrift retrain --deploy"


async def test_a_refused_candidate_ends_with_3_and_a_table_and_is_kept_but_not_deployed(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await retrain(config)
    assert (result.exit_code, result.deployed) == (3, False)
    assert result.document()["refused_by"] == ["overfit"]
    table, aside = capsys.readouterr()
    assert "refused" not in aside  # what a command reports goes to stdout
    assert "FAIL" in table
    assert "learnt by heart" in table
    assert "is refused" in table
    registry = Registry(config.data_dir / "models")
    assert registry.live(SLOT) is None
    assert [version.passed for version in registry.versions(SLOT)] == [False]


async def test_nothing_is_trained_before_there_are_enough_bars_unless_forced(
    config: Config,
) -> None:
    few = msgspec.structs.replace(config, policy={"min_bars": 601})
    with pytest.raises(NotNow, match="the first model needs 601; --force retrains all the same"):
        await retrain(few)
    assert (await retrain(few, force=True)).exit_code == 3


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"cooldown_hours": 72.0}, "cooling down for 72 h"),
        ({"cooldown_hours": 0.0, "min_new_bars": 601}, "fewer than 601 bars are new"),
        ({"cooldown_hours": 0.0, "min_new_bars": 600}, None),
    ],
)
async def test_a_live_model_is_not_replaced_for_nothing_unless_forced(
    config: Config, tmp_path: Path, policy: dict[str, Any], why: str | None
) -> None:
    make_live(config, tmp_path)
    settled = msgspec.structs.replace(config, policy=policy)
    if why is not None:
        with pytest.raises(NotNow, match=why):
            await retrain(settled)
    assert (await retrain(settled, force=why is not None)).exit_code == 3


async def test_after_a_refusal_the_policy_waits(config: Config) -> None:
    await retrain(config, quiet=True)
    with pytest.raises(NotNow, match="did not succeed"):
        await retrain(config)


async def test_a_child_that_dies_leaves_the_live_model_as_it_was(
    config: Config, tmp_path: Path
) -> None:
    make_live(config, tmp_path)
    registry = Registry(config.data_dir / "models")
    before = registry.pointer(SLOT).read_bytes()
    (tmp_path / "child.py").write_text("raise SystemExit('no luck')")
    with pytest.raises(RetrainFailedError, match="no luck"):
        await retrain(config, force=True)
    assert registry.pointer(SLOT).read_bytes() == before
    assert len(registry.versions(SLOT)) == 1


def test_interrupted_it_ends_its_child_says_so_and_leaves_no_job(
    config: Config, tmp_path: Path
) -> None:
    pid = tmp_path / "seen" / "pid"
    pid.parent.mkdir()  # a child can make nothing in a folder above the data folder
    (tmp_path / "child.py").write_text(
        f"import os, pathlib, time\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(600)\n"
    )
    settings = tmp_path / "hyperdrift.toml"
    settings.write_text(
        f'[daemon]\ndata_dir = "{config.data_dir}"\n[[slots]]\ncoin = "BTC"\ninterval = "5m"\n'
        f'[retrain]\npython = "{tmp_path / "python"}"\n[policy]\nmin_bars = 500\n'
    )
    asked = ("retrain", "--coin", "BTC", "--config", str(settings))
    command = [sys.executable, "-m", "daemon.cli", *asked]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not pid.exists() or not pid.read_text():
            assert time.monotonic() < until, "the child did not start"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; `hyperdrift models list` shows what is live" in said
    assert not Path(f"/proc/{pid.read_text()}").exists()
    assert list((config.data_dir / "jobs").glob("*/job.json")) == []
    assert Registry(config.data_dir / "models").live(SLOT) is None
