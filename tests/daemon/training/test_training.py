from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.config.schema import Config, SlotSection
from daemon.core.subprocesses import Limits
from daemon.registry.registry import Registry
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from daemon.store.journal_kinds import VERSIONS_PRUNED
from daemon.training import training
from daemon.training.jobs import Jobs
from daemon.training.training import Training, job_spec
from hyperdrift.loaded_model import LoadedModel, load_version
from hyperdrift.slot_name import SlotName
from monitor.actions import StartRetrain
from tests.daemon.versions import certificate, write_version

SLOT = SlotName("BTC", "5m")


async def test_versions_that_a_retrain_pushes_out_stand_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "KEEP_VERSIONS", 2)
    registry, store = Registry(tmp_path / "models"), ThreadedStore(open_store(tmp_path))
    made = Training(
        slot=SLOT,
        section=SlotSection(coin="BTC"),
        config=Config(),
        store=store,
        registry=registry,
        jobs=Jobs(tmp_path / "jobs", Limits()),
        false_alarms_per_month=1.0,
    )
    for at_ms, number in enumerate((1, 2, 3)):
        registry.adopt(SLOT, write_version(tmp_path / str(number), number))
        await made._prune(at_ms)
    (entry,) = await store.call(lambda s: list(s.journal(SLOT)))
    store.close()
    newest = {info.model_id for info in registry.versions(SLOT)}
    assert (entry.kind, entry.at_ms) == (VERSIONS_PRUNED, 2)
    assert len(entry.body["removed"]) == 1
    assert not newest & set(entry.body["removed"])
    assert entry.body["by"] == "hyperdrift"


@dataclass(frozen=True)
class Live:
    """A live version, as a retrain asks for it."""

    champion: LoadedModel | None
    champion_path: str | None


@pytest.mark.parametrize(
    ("followed", "asked", "previous"),
    [
        ("default:0.005", None, 0.01),
        ("auto", "auto", 0.01),
        ("auto", None, None),
        (0.01, None, None),
        ("default:0.005", 0.02, None),
    ],
)
def test_a_job_is_told_the_threshold_that_the_same_setting_chose_before(
    tmp_path: Path, followed: float | str, asked: float | str | None, previous: float | None
) -> None:
    meta = certificate() | {"settings": {"threshold": followed}}
    path = write_version(tmp_path, meta=meta, threshold=0.01, portable=True)
    section = SlotSection(coin="BTC", threshold=asked)
    order = StartRetrain(slot="BTC-5m", at_ms=1, job_id="1", trigger="command", reason="a test")
    spec = job_spec(Config(), section, order, Live(load_version(path), str(path)))
    assert spec["threshold"] == (asked or "default:0.005")
    assert spec["previous_threshold"] == previous
    assert job_spec(Config(), section, order, Live(None, None))["previous_threshold"] is None
