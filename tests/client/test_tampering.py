"""Every way to tamper with a version, against every kind of bot and `models verify` at once.

A bot answers with a good model. Then the folder is changed as a thief, a bad disk or an old
backup would change it, and the order to load the new version comes. Whoever looks must refuse
it with the reason, nothing of it may run, and the good model goes on answering.
"""

import asyncio
import contextlib
import dataclasses
import json
import pickle
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.admin.version_view import verify
from daemon.config.schema import Config, DaemonSection
from daemon.registry.keys import own_signer, public_path, trusted_keys
from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from daemon.runtime.swap import SwapCoordinator
from hyperdrift.blocking import BlockingModelSlot
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import SwapAck, SwapOrder
from hyperdrift.mqtt.topics import Topics
from hyperdrift.pointer import PointerSlot
from hyperdrift.slot import ModelSlot
from hyperdrift.slot_name import SlotName
from tests.daemon.brokers import Embedded, until
from tests.daemon.versions import replace_file, rewrite, rows, write_version

SLOT, ETH, TOPICS = SlotName("BTC", "5m"), SlotName("ETH", "5m"), Topics()
ROW = rows()[0].tolist()
NOW = 1_760_000_000_000


class Planted:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@dataclass
class Scene:
    """A data folder with versions old, good and new; the new one is not in it yet."""

    root: Path
    config: Config
    registry: Registry
    aside: Registry
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def trace(self) -> Path:
        return self.root / "it-ran"

    @property
    def planted(self) -> bytes:
        return pickle.dumps(Planted(self.trace))

    @property
    def folder(self) -> Path:
        """Where the new version is live, apart from the bots."""
        return self.aside.folder(SLOT)

    @property
    def latest(self) -> Path:
        return self.aside.pointer(SLOT)

    def file(self, field_name: str, which: str = "new") -> Path:
        return next(self.folder.glob(f"{field_name}_{self.ids[which]}.*"))

    def overwrite(self, path: Path, content: bytes) -> None:
        path.unlink()  # names may be hard links
        path.write_bytes(content)

    def install(self) -> None:
        """Bring the changed folder to the bots, the pointer last and in one step."""
        there = self.registry.folder(SLOT)
        for path in self.folder.iterdir():
            if path.is_file() and path != self.latest:
                shutil.copy(path, there / f".{path.name}")
                (there / f".{path.name}").replace(there / path.name)
        for path in there.glob("*_*"):
            if not (self.folder / path.name).exists():
                path.unlink()
        shutil.copy(self.latest, there / ".aside")
        (there / ".aside").replace(there / self.latest.name)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    data = tmp_path / "data"
    signer, ring = own_signer(data), trusted_keys(data)
    registry = Registry(data / "models", signer, ring=ring)
    config = Config(daemon=DaemonSection(data_dir=str(data)))
    made = Scene(tmp_path, config, registry, Registry(tmp_path / "aside", signer, ring=ring))
    for number, which in enumerate(("old", "good", "new")):
        candidate = write_version(tmp_path / which, number)
        made.ids[which] = registry.adopt(SLOT, candidate)
        if which != "new":
            registry.deploy(SLOT, made.ids[which], reason="t", by="t", at_ms=NOW)
    shutil.copytree(registry.folder(SLOT), made.folder)
    made.aside.deploy(SLOT, made.ids["new"], reason="t", by="t", at_ms=NOW)
    return made


# What may be done to it.


def plant_a_pickle(scene: Scene) -> None:
    scene.overwrite(scene.file("meta_classifier"), scene.planted)


def cut_the_model_short(scene: Scene) -> None:
    path = scene.file("meta_classifier")
    scene.overwrite(path, path.read_bytes()[:-100])


def take_the_model_away(scene: Scene) -> None:
    scene.file("meta_classifier").unlink()


def swap_the_models_of_two_versions(scene: Scene) -> None:
    new, good = scene.file("meta_classifier"), scene.file("meta_classifier", "good")
    contents = new.read_bytes(), good.read_bytes()
    scene.overwrite(new, contents[1])
    scene.overwrite(good, contents[0])


def rewrite_the_certificate(scene: Scene) -> None:
    path = scene.file("training_meta")
    scene.overwrite(path, json.dumps({**json.loads(path.read_text()), "passed": 1}).encode())


def change_the_golden_rows(scene: Scene) -> None:
    path = scene.file("golden")
    scene.overwrite(path, path.read_bytes().replace(b"0.1", b"0.2", 1))


def change_the_order_of_the_columns(scene: Scene) -> None:
    path = scene.file("feature_columns")
    columns = json.loads(path.read_text())
    columns["feature_cols"].reverse()
    scene.overwrite(path, json.dumps(columns).encode())


def plant_a_pickle_with_its_digest(scene: Scene) -> None:
    replace_file(scene.latest, "meta_classifier", scene.planted)


def plant_a_pickle_under_another_key(scene: Scene) -> None:
    plant_a_pickle_with_its_digest(scene)
    generate(scene.root / "mallory.key", scene.root / "mallory.pub")
    forger = Signer.load(scene.root / "mallory.key")
    rewrite(scene.latest, signature=forger.sign(json.loads(scene.latest.read_text())))


def take_the_signature_away(scene: Scene) -> None:
    rewrite(scene.latest, signature=None)


def change_the_thresholds(scene: Scene) -> None:
    rewrite(scene.latest, signal_threshold={"up": 0.01, "down": 0.01})


def say_that_somebody_promoted_it(scene: Scene) -> None:
    rewrite(scene.latest, promoted_by="mallory")


def point_to_the_good_one_under_the_signature_of_the_new(scene: Scene) -> None:
    document = json.loads(scene.latest.read_text())
    good = json.loads(scene.registry.manifest_path(SLOT, scene.ids["good"]).read_text())
    rewrite(scene.latest, **{**good, "signature": document["signature"]})


def cut_the_pointer_short(scene: Scene) -> None:
    scene.overwrite(scene.latest, scene.latest.read_bytes()[:300])


def point_to_a_model_of_another_slot(scene: Scene) -> None:
    elsewhere = Registry(scene.root / "eth", own_signer(scene.config.data_dir))
    candidate = write_version(scene.root / "eth-candidate", 2, slot=str(ETH))
    elsewhere.adopt(ETH, candidate)
    elsewhere.deploy(ETH, scene.ids["new"], reason="t", by="t", at_ms=NOW + 50)
    for path in elsewhere.folder(ETH).iterdir():
        scene.overwrite(scene.folder / path.name, path.read_bytes())


DIGEST = "SHA-256"
FORGED = "digests of the order|not the daemon's"
CASES: dict[Callable[[Scene], None], str] = {
    plant_a_pickle: DIGEST,
    cut_the_model_short: DIGEST,
    take_the_model_away: "cannot be read",
    swap_the_models_of_two_versions: DIGEST,
    rewrite_the_certificate: DIGEST,
    change_the_golden_rows: DIGEST,
    change_the_order_of_the_columns: DIGEST,
    plant_a_pickle_with_its_digest: FORGED,
    plant_a_pickle_under_another_key: FORGED,
    take_the_signature_away: "its manifest is not signed",
    change_the_thresholds: "not the daemon's",
    say_that_somebody_promoted_it: "not the daemon's",
    point_to_the_good_one_under_the_signature_of_the_new: "LATEST.json names|not the daemon's",
    cut_the_pointer_short: "is not JSON",
    point_to_a_model_of_another_slot: "model of ETH-5m, not of BTC-5m",
}


@dataclass
class Bots:
    """One of each kind, on one broker, with the daemon's side of it."""

    scene: Scene
    bus: MqttConnection
    swap: SwapCoordinator
    acks: list[SwapAck]
    slot: ModelSlot
    blocking: BlockingModelSlot
    watcher: PointerSlot

    async def answers(self, swap_id: str) -> list[SwapAck]:
        def heard() -> list[SwapAck]:
            return [ack for ack in self.acks if ack.swap_id == swap_id]

        await until(lambda: len({ack.bot_id for ack in heard()}) == 2)
        return heard()

    def said(self, swap_id: str) -> dict[str, str]:
        """Say of each bot why it refused the order, or for what it waits."""
        waits = {bot.bot_id: bot.presence.waiting_for for bot in self.swap.bots(SLOT)}
        acks = [ack for ack in self.acks if ack.swap_id == swap_id]
        return {k: v for k, v in waits.items() if v} | {ack.bot_id: ack.error for ack in acks}

    async def nobody_takes(self, swap_id: str, why: str) -> None:
        await until(lambda: len(self.said(swap_id)) == 2)
        for said in self.said(swap_id).values():
            assert re.search(why, said), said
        with contextlib.suppress(TimeoutError):  # it may have seen the folder half changed
            await until(lambda: re.search(why, self.watcher.refusal))
        assert re.search(why, self.watcher.refusal), self.watcher.refusal
        for slot in (self.slot, self.blocking, self.watcher):
            assert slot.predict(ROW).model_id == self.scene.ids["good"]
        assert not self.scene.trace.exists()


@pytest.fixture
async def bots(scene: Scene) -> AsyncIterator[Bots]:
    broker = Embedded(scene.root)
    await broker.start()
    bus, acks = MqttConnection(BrokerAddress.parse(broker.url), SystemClock()), list[SwapAck]()
    swap = SwapCoordinator(
        bus,
        TOPICS,
        SystemClock(),
        on_ack=lambda _slot, ack, _ms: acks.append(ack),
        on_silence=lambda *_: None,
        signer=own_signer(scene.config.data_dir),
    )
    swap.watch(SLOT)
    task = asyncio.create_task(bus.run())
    models, key = scene.config.data_dir / "models", public_path(scene.config.data_dir)
    inner, slot = (
        ModelSlot(broker.url, str(SLOT), bot_id=name, public_key=key, models_dir=models)
        for name in ("blocking", "asyncio")
    )
    blocking, watcher = BlockingModelSlot(inner), PointerSlot(models, str(SLOT), public_key=key)
    await slot.start()
    await asyncio.to_thread(blocking.start)
    await asyncio.to_thread(watcher.start)
    made = Bots(scene, bus, swap, acks, slot, blocking, watcher)
    live = scene.registry.live(SLOT)
    assert live is not None
    loaded = await made.answers(swap.order(SLOT, live, scene.registry.pointer(SLOT), "first"))
    assert {ack.status for ack in loaded} == {"loaded"}
    yield made
    await asyncio.to_thread(watcher.stop)
    await asyncio.to_thread(blocking.stop)
    await slot.stop()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await broker.stop()


@pytest.mark.parametrize("tamper", CASES, ids=lambda tamper: tamper.__name__)
async def test_a_tampered_version_is_refused_by_every_bot_and_by_verify_and_nothing_of_it_runs(
    scene: Scene, bots: Bots, tamper: Callable[[Scene], None]
) -> None:
    new = scene.aside.live(SLOT)
    assert new is not None
    tamper(scene)
    scene.install()
    order = bots.swap.order(SLOT, new, scene.registry.pointer(SLOT), "test")
    await bots.nobody_takes(order, CASES[tamper])
    pointer, *_ = await asyncio.to_thread(verify, scene.config, str(SLOT))
    assert re.search(CASES[tamper], pointer.problem), pointer
    assert not scene.trace.exists()


async def test_without_tampering_the_same_steps_swap_every_bot(scene: Scene, bots: Bots) -> None:
    new = scene.aside.live(SLOT)
    assert new is not None
    scene.install()
    order = bots.swap.order(SLOT, new, scene.registry.pointer(SLOT), "test")
    assert {ack.status for ack in await bots.answers(order)} == {"loaded"}
    await until(lambda: bots.watcher.model_id == scene.ids["new"])
    for slot in (bots.slot, bots.blocking, bots.watcher):
        assert slot.predict(ROW).model_id == scene.ids["new"]
    found = await asyncio.to_thread(verify, scene.config, str(SLOT))
    assert [finding.problem for finding in found] == ["", "", "", ""]


async def test_an_older_pointer_and_its_order_that_come_back_are_refused_by_all(
    scene: Scene, bots: Bots
) -> None:
    backup = min((scene.registry.folder(SLOT) / "backup").iterdir())
    replayed = (backup / "LATEST.json").read_text()
    assert json.loads(replayed)["model_id"] == scene.ids["old"]
    order = _order_of(json.loads(replayed), scene)
    (scene.registry.folder(SLOT) / ".aside").write_text(replayed)
    (scene.registry.folder(SLOT) / ".aside").replace(scene.registry.pointer(SLOT))
    listener = list[SwapAck]()
    bots.bus.subscribe(TOPICS.ack(SLOT), lambda _t, body, _r: listener.append(_ack(body)))
    bots.bus.publish(TOPICS.model(SLOT), order, retain=True)
    await until(lambda: {ack.bot_id for ack in listener} == {"asyncio", "blocking"})
    assert {(ack.status, ack.error) for ack in listener} == {
        ("refused", "the order is older than the last accepted one")
    }
    await until(lambda: "an old LATEST.json came back" in bots.watcher.refusal)
    for slot in (bots.slot, bots.blocking, bots.watcher):
        assert slot.predict(ROW).model_id == scene.ids["good"]


def _order_of(document: dict[str, Any], scene: Scene) -> SwapOrder:
    """Return the order that the daemon gave for a pointer when it was live, signed as it was."""
    order = SwapOrder(
        swap_id="replayed",
        model_id=document["model_id"],
        manifest=str(scene.registry.pointer(SLOT)),
        sha256=document["sha256"],
        sklearn=document["sklearn"],
        reason="test",
        issued_ms=document["deployed"]["at_ms"],
    )
    signature = own_signer(scene.config.data_dir).sign_message(order)
    return dataclasses.replace(order, signature=signature)


def _ack(body: bytes) -> SwapAck:
    return msgspec.json.decode(body, type=SwapAck)
