"""Features of a closed bar from a bot's own class, in a real child process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.config.schema import Config, DaemonSection, FeaturesSection
from daemon.core.bars import Bar, Funding, Provenance
from daemon.core.errors import ComputingFailed
from daemon.core.subprocesses import Surroundings
from daemon.scoring import feature_computers, feature_parity
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import open_store
from daemon.training.jobs import Jobs, Limits
from hyperdrift.errors import BadInput, VersionRefused
from hyperdrift.slot_name import SlotName
from hyperdrift.verification import admit
from retrain import features
from tests import botcode
from tests.captured import capture_logs
from tests.daemon.versions import write_version

SLOT = SlotName("BTC", "5m")
STEP = SLOT.interval_ms
START = 1_750_000_200_000


def bar(i: int, volume: float = 2.0) -> Bar:
    price = 100.0 + i % 7
    return Bar(START + i * STEP, price, price + 1, price - 1, price, volume)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ThreadedStore]:
    kept = ThreadedStore(open_store(tmp_path / "data"))
    kept.store.put_bars(SLOT, [bar(i) for i in range(400)], Provenance.REST)
    kept.store.put_funding("BTC", [Funding(START - STEP, 1e-5)])
    yield kept
    kept.close()


def own(store: ThreadedStore, tmp_path: Path, name: str) -> feature_computers.BotComputer:
    section = FeaturesSection(computer=f"paperbot.features:{name}", path=botcode.write(tmp_path))
    made = feature_computers.make(
        section, SLOT, store, Limits(nice=0), Jobs(tmp_path / "jobs", Limits()).surroundings
    )
    assert isinstance(made, feature_computers.BotComputer)
    return made


@pytest.mark.parametrize("name", ["", "Endless"])
async def test_a_bar_that_the_store_lacks_or_that_is_damaged_has_no_features(
    store: ThreadedStore, tmp_path: Path, name: str
) -> None:
    computer = own(store, tmp_path, name) if name else feature_computers.Builtin(SLOT, store)
    assert np.isfinite(await computer.row(bar(350).t)).all()
    with store.store.database.writing() as db:
        db.execute("UPDATE bars SET high = 1e300 WHERE t = ?", (bar(351).t,))
        db.execute("DELETE FROM bars WHERE t < ?", (bar(3).t,))
    for i in (351, 2, 400):
        assert np.isnan(await computer.row(bar(i).t)).all()
    await computer.close()


async def test_slots_whose_bars_close_together_compute_in_turn(store: ThreadedStore) -> None:
    asked: list[str] = []

    class Watched(ThreadedStore):
        async def call(self, method: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(str(args[0].slot))
            return await super().call(method, *args, **kwargs)

    turns, watched = asyncio.Semaphore(1), Watched(store.store)
    slots = [SLOT, SlotName("ETH", "5m")]
    computers = [feature_computers.Builtin(slot, watched, turns) for slot in slots]
    rows = [asyncio.create_task(computer.row(bar(350).t)) for computer in computers]
    while not asked:
        await asyncio.sleep(0)
    assert asked == ["BTC-5m"]  # the other one waits without a place at the store
    known, unknown = await asyncio.gather(*rows)
    assert asked == ["BTC-5m", "ETH-5m"]
    assert np.isfinite(known).all()
    assert np.isnan(unknown).all()


async def test_one_instance_is_fed_every_bar_and_begins_again_after_a_hole(
    store: ThreadedStore, tmp_path: Path
) -> None:
    computer = own(store, tmp_path, "Endless")
    counts = [(await computer.row(bar(i).t))[0] for i in (300, 301, 302, 399)]
    assert counts == [301.0, 302.0, 303.0, 400.0]
    assert computer.schema_hash not in {None, features.schema_hash()}
    await computer.close()


async def test_a_class_that_raises_or_ends_its_process_costs_a_bar_and_one_line(
    store: ThreadedStore, tmp_path: Path
) -> None:
    store.store.put_bars(SLOT, [bar(400, 13.0)], Provenance.REST)
    computer = own(store, tmp_path, "Failing")
    with capture_logs() as lines:
        assert np.isfinite(await computer.row(bar(399).t)).all()
        assert np.isnan(await computer.row(bar(400).t)).all()
        assert np.isnan(await computer.row(bar(400).t)).all()
    assert [line["event"] for line in lines] == ["features.failed"]
    assert "ZeroDivisionError" in lines[0]["why"]
    store.store.put_bars(SLOT, [bar(400, 14.0)], Provenance.REST)
    other = own(store, tmp_path, "Failing")
    with capture_logs() as lines:
        assert np.isnan(await other.row(bar(400).t)).all()
    assert "its process ended with 7" in lines[0]["why"]
    store.store.put_bars(SLOT, [bar(400, 15.0)], Provenance.REST)
    with capture_logs() as lines:
        assert np.isfinite(await other.row(bar(400).t)).all()
    assert [line["event"] for line in lines] == ["features.recovered"]
    await asyncio.gather(computer.close(), other.close())


@pytest.mark.parametrize(
    "said",
    [
        b"[" * 10_000,
        b"\xff",
        b"7",
        b'{"rows": 7}',
        b'{"rows": [[1, 2]]}',
        b'{"rows": [[1, 2], [3]]}',
        b'{"rows": [[%b]]}' % b", ".join([b"9" * 400] * 17),
    ],
)
async def test_an_answer_of_the_child_that_is_none_is_the_failure_of_a_class(
    tmp_path: Path, said: bytes
) -> None:
    (tmp_path / "said").write_bytes(said + b"\n")
    child = tmp_path / "child"
    child.write_text(f'#!/bin/sh\necho \'{{"schema_hash": "x"}}\'; cat {tmp_path}/said; read end\n')
    child.chmod(0o755)
    section = FeaturesSection(computer="a:B")
    talk = feature_computers.Conversation(
        section,
        Limits(python=str(child)),
        lambda: Surroundings({"PATH": "/usr/bin:/bin"}, tmp_path),
    )
    with pytest.raises(ComputingFailed, match="gave") as caught:
        await talk.ask(np.ones((1, 8)), begin=True)
    assert str(caught.value).isprintable()
    await talk.end()


async def compared(tmp_path: Path, first: str, second: str) -> feature_parity.Parity:
    path = botcode.write(tmp_path)
    config = Config(
        daemon=DaemonSection(data_dir=str(tmp_path / "data")), features=FeaturesSection(path=path)
    )
    return await feature_parity.compare(config, SLOT, first, second)


async def test_parity_names_the_worst_column_first(store: ThreadedStore, tmp_path: Path) -> None:
    found = await compared(tmp_path, "builtin", "paperbot.features:Honest")
    assert not found.agrees
    differences = [column.difference for column in found.columns]
    assert differences == sorted(differences, reverse=True)
    assert found.rows == 101
    assert found.document()["worst"] == found.columns[0].name
    assert "beyond" in found.lines()[-1]


@pytest.mark.parametrize("name", ["builtin", "paperbot.features:Honest"])
async def test_a_computer_agrees_with_itself_as_it_is_served(
    store: ThreadedStore, tmp_path: Path, name: str
) -> None:
    found = await compared(tmp_path, name, name)
    assert (found.agrees, found.rows) == (True, 101)


async def test_a_slot_without_bars_cannot_be_compared(store: ThreadedStore, tmp_path: Path) -> None:
    config = Config(daemon=DaemonSection(data_dir=str(tmp_path / "data")))
    with pytest.raises(BadInput, match="ETH-5m has no bars"):
        await feature_parity.compare(config, SlotName("ETH", "5m"), "builtin", "builtin")


@pytest.mark.parametrize(
    ("computer", "says"), [("bot:Class", "reads the features of builtin"), ("builtin", None)]
)
def test_a_bot_refuses_a_model_of_other_features(
    tmp_path: Path, computer: str, says: str | None
) -> None:
    manifest = write_version(tmp_path, 3000)
    if says is None:
        assert admit(manifest, SLOT, computer=computer).manifest.computer == computer
        return
    with pytest.raises(VersionRefused, match=says):
        admit(manifest, SLOT, computer=computer)
