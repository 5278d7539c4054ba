"""What is live, seen from the daemon: found again at a start, changed on the engine's orders."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.core.clock import VenueClock
from daemon.mqtt.messages import encode
from daemon.registry.registry import Registry
from daemon.registry.signing import KeyRing, Signer, generate
from daemon.runtime.serving import Serving, model_served
from daemon.runtime.swap import SwapCoordinator
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import SwapOrder
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import read_manifest
from monitor import actions, events
from tests.daemon.versions import certificate, replace_file, rewrite, write_version
from tests.fakes import FakeClock

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()


@dataclass
class House:
    """One data folder, in which daemons start and stop; no broker is there."""

    root: Path
    clock: FakeClock
    registry: Registry
    ids: list[str]

    def start(self) -> tuple[Serving, MqttConnection]:
        bus = MqttConnection(BrokerAddress.parse("mqtt://127.0.0.1:1"), self.clock, encode=encode)
        nothing: Any = lambda *_: None  # noqa: E731 - said shortest so
        swap = SwapCoordinator(bus, TOPICS, self.clock, on_ack=nothing, on_silence=nothing)
        venue = VenueClock(self.clock)
        return Serving(SLOT, self.registry, swap, clock=self.clock, venue=venue), bus

    def deploy(self, number: int, reason: str = "drift") -> str:
        model_id = self.ids[number]
        at_ms = self.clock.now_ms()
        self.registry.deploy(SLOT, model_id, reason=reason, by="hyperdrift", at_ms=at_ms)
        return model_id

    @property
    def pointer(self) -> Path:
        return self.registry.pointer(SLOT)


@pytest.fixture
def house(tmp_path: Path) -> House:
    generate(tmp_path / "own.key", tmp_path / "own.pub")
    signer, ring = Signer.load(tmp_path / "own.key"), KeyRing.load([tmp_path / "own.pub"])
    registry = Registry(tmp_path / "models", signer, ring=ring)
    ids = [registry.adopt(SLOT, write_version(tmp_path / str(n), n)) for n in (1, 2, 3)]
    return House(tmp_path, FakeClock(), registry, ids)


def order_on(bus: MqttConnection) -> SwapOrder:
    return msgspec.json.decode(bus.queue.retained[TOPICS.model(SLOT)], type=SwapOrder)


def damage_nothing(_house: House) -> None:
    """All is well."""


def lose_the_pointer(house: House) -> None:
    house.pointer.unlink()


def cut_the_pointer(house: House) -> None:
    house.pointer.write_bytes(house.pointer.read_bytes()[:40])


def forge_the_pointer(house: House) -> None:
    rewrite(house.pointer, promoted_by="mallory")


def cut_the_model(house: House) -> None:
    next(house.pointer.parent.glob(f"meta_classifier_{house.ids[1]}.*")).write_bytes(b"")


def forge_the_version(house: House) -> None:
    manifest = house.registry.manifest_path(SLOT, house.ids[1])
    replace_file(manifest, "meta_classifier", b"another model")


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        (damage_nothing, 1),
        (lose_the_pointer, 1),
        (cut_the_pointer, 1),
        (forge_the_pointer, 1),
        (cut_the_model, 0),
        (forge_the_version, 0),
    ],
)
async def test_a_start_serves_what_was_live_or_the_newest_version_that_is_whole(
    house: House, damage: Any, number: int
) -> None:
    house.deploy(0)
    known_id = house.deploy(1)
    damage(house)
    serving, bus = house.start()
    live = await serving.resume(None, known_id)
    assert live is not None
    assert serving.champion is not None
    assert live.model_id == serving.champion.model_id == house.ids[number]
    assert serving.labels_told == "12 bars ahead, threshold 0.005"
    assert order_on(bus).model_id == house.ids[number]
    again = house.registry.live(SLOT)
    assert again is not None
    assert again.model_id == house.ids[number]


def bring_an_old_pointer_back(house: House) -> None:
    backup = next((house.pointer.parent / "backup").glob("*/LATEST.json"))
    house.pointer.write_bytes(backup.read_bytes())


async def second_deployed(house: House) -> tuple[Serving, Manifest]:
    """Serve the second of two versions that went live in turn."""
    house.deploy(0)
    house.clock.ms += 5000
    known_id = house.deploy(1)
    serving, _ = house.start()
    live = await serving.resume(None, known_id)
    assert live is not None
    return serving, live


@pytest.mark.parametrize(
    ("damage", "number"),
    [
        (lose_the_pointer, 1),
        (forge_the_pointer, 1),
        (bring_an_old_pointer_back, 1),
        (cut_the_model, 0),
    ],
)
async def test_what_is_lost_while_it_serves_is_noticed_and_put_back(
    house: House, damage: Any, number: int
) -> None:
    serving, live = await second_deployed(house)
    assert await serving.is_whole()
    damage(house)
    assert not await serving.is_whole()
    back = await serving.resume(None, live.model_id, live.deployed_ms)
    assert back is not None
    assert serving.lost
    assert back.model_id == house.ids[number]
    assert await serving.is_whole()


async def test_with_pointer_and_journal_lost_the_newest_backup_says_what_was_live(
    house: House,
) -> None:
    for number in (0, 1, 2):
        house.clock.ms += 5000
        house.deploy(number)
    lose_the_pointer(house)
    serving, _ = house.start()
    live = await serving.resume(None, None)
    assert live is not None
    assert live.model_id == house.ids[1]
    assert "LATEST.json was missing" in serving.lost


async def test_a_file_that_was_only_touched_is_looked_into_and_found_whole(house: House) -> None:
    house.deploy(0)
    serving, _ = house.start()
    await serving.resume(None, None)
    assert await serving.is_whole()
    house.pointer.touch()
    assert await serving.is_whole()


async def test_a_folder_that_takes_nothing_is_told_from_one_with_no_other_version(
    house: House,
) -> None:
    serving, live = await second_deployed(house)
    bring_an_old_pointer_back(house)
    backup = house.pointer.parent / "backup"
    backup.rename(house.root / "backup")
    backup.write_text("in the way")
    assert await serving.resume(None, live.model_id, live.deployed_ms) is None
    assert "an old LATEST.json came back" in serving.lost
    assert "backup" in serving.remedy
    assert "cannot be written (Not a directory): check disk space and rights" in serving.remedy


async def test_a_model_that_could_not_be_found_is_looked_for_again(house: House) -> None:
    known_id = house.deploy(0)
    hidden = house.pointer.parent.rename(house.root / "hidden")
    serving, _ = house.start()
    assert await serving.resume(None, known_id) is None
    assert not await serving.is_whole()
    hidden.rename(house.pointer.parent)
    assert await serving.resume(None, known_id) is not None
    assert await serving.is_whole()


async def test_a_start_with_nothing_usable_serves_nothing_and_does_not_fail(house: House) -> None:
    known_id = house.deploy(0)
    for path in house.pointer.parent.glob("manifest_*"):
        path.unlink()
    serving, bus = house.start()
    assert await serving.resume(None, known_id) is None
    assert serving.champion is None
    assert TOPICS.model(SLOT) not in bus.queue.retained


async def test_a_start_does_not_serve_an_old_pointer_that_came_back(house: House) -> None:
    house.deploy(0)
    old = house.pointer.read_bytes()
    known_id = house.deploy(1)
    newest = house.registry.live(SLOT)
    assert newest is not None
    house.pointer.write_bytes(old)
    serving, bus = house.start()
    live = await serving.resume(None, known_id, newest.deployed_ms)
    assert live is not None
    assert live.model_id == known_id
    assert live.document["deployed"]["reason"].endswith("an old LATEST.json came back")
    assert order_on(bus).issued_ms > newest.deployed_ms


async def test_a_first_start_serves_nothing_yet(house: House) -> None:
    serving, _ = house.start()
    assert await serving.resume(None, None) is None


async def test_orders_grow_over_restarts_also_when_the_clock_has_stepped_back(
    house: House,
) -> None:
    house.deploy(0)
    issued = []
    for number in (1, 2):
        serving, bus = house.start()
        await serving.resume(None, None)
        issued.append(order_on(bus).issued_ms)
        house.clock.ms -= 3_600_000
        deploy = actions.Deploy(
            slot=str(SLOT),
            at_ms=0,
            job_id="j",
            model_id=house.ids[number],
            trigger="age",
            reason="old",
        )
        assert isinstance(await serving.change(deploy), events.ModelServed)
        issued.append(order_on(bus).issued_ms)
    assert issued[0] < issued[1] == issued[2] < issued[3], "said again, it is the same order"


async def test_after_a_rollback_the_version_that_was_left_is_nothing_to_go_back_to(
    house: House,
) -> None:
    for number in range(3):
        house.deploy(number)
    serving, _ = house.start()
    await serving.resume(None, None)
    rollback = actions.Rollback(
        slot=str(SLOT), at_ms=0, to_model_id=house.ids[1], reason="worse", by="alice"
    )
    served = await serving.change(rollback)
    assert isinstance(served, events.ModelServed)
    assert (served.model_id, served.previous_id) == (house.ids[1], house.ids[0])
    deployed = json.loads(house.pointer.read_text())["deployed"]
    assert (deployed["by"], deployed["reason"]) == ("alice", "worse")


async def test_an_automatic_rollback_passes_over_a_damaged_version(house: House) -> None:
    for number in range(3):
        house.deploy(number)
    serving, _ = house.start()
    await serving.resume(None, None)
    cut_the_model(house)
    rollback = actions.Rollback(slot=str(SLOT), at_ms=0, to_model_id=house.ids[1], reason="worse")
    served = await serving.change(rollback)
    assert isinstance(served, events.ModelServed)
    assert served.model_id == house.ids[0]


async def test_what_cannot_be_loaded_is_promoted_by_nobody_and_the_pointer_stays(
    house: House,
) -> None:
    one = house.deploy(0)
    manifest = write_version(house.root / "bad", 9, meta=certificate())
    document = json.loads(manifest.read_text())
    golden = json.loads((manifest.parent / document["golden"]).read_text())
    golden["probabilities"][0] = [0.2, 0.2, 0.6]
    replace_file(manifest, "golden", json.dumps(golden).encode())
    bad = house.registry.adopt(SLOT, manifest)
    serving, _ = house.start()
    await serving.resume(None, None)
    promote = actions.Promote(slot=str(SLOT), at_ms=0, model_id=bad, reason="trust me")
    failed = await serving.change(promote)
    assert isinstance(failed, events.SwapFailed)
    assert "golden" in failed.error
    live = house.registry.live(SLOT)
    assert live is not None
    assert serving.champion is not None
    assert live.model_id == serving.champion.model_id == one


async def test_what_a_person_did_while_the_daemon_was_away_is_told_with_who_and_why(
    house: House,
) -> None:
    for number in range(3):
        house.deploy(number)
    house.registry.rollback(SLOT, reason="losses", by="alice", at_ms=house.clock.now_ms())
    serving, _ = house.start()
    live = await serving.resume(None, house.ids[2])
    assert live is not None
    served = await serving.found(live, house.ids[2])
    assert (served.reason, served.rollback) == ("rollback: losses (by alice)", True)
    assert (served.model_id, served.previous_id) == (house.ids[1], house.ids[0])


@pytest.mark.parametrize("journal", ["kept", "lost"])
async def test_beside_a_version_that_a_start_finds_live_the_one_before_scores_too(
    house: House, journal: str
) -> None:
    one, two = house.deploy(0), house.deploy(1)
    serving, _ = house.start()
    known = one if journal == "kept" else None  # the journal does not know of the second
    live = await serving.resume(None, known)
    assert live is not None
    served = await serving.found(live, known)
    assert (served.model_id, served.previous_id) == (two, one)
    assert serving.champion is not None
    assert serving.shadow is not None
    assert (serving.champion.model_id, serving.shadow.model_id) == (two, one)


async def test_what_an_operator_left_serves_again_before_there_is_no_model_at_all(
    house: House,
) -> None:
    one, two = house.deploy(0), house.deploy(1)
    serving, _ = house.start()
    await serving.resume(None, two)
    back = actions.Rollback(slot=str(SLOT), at_ms=0, to_model_id=one, reason="a wish", by="alice")
    assert isinstance(await serving.change(back), events.ModelServed)
    next(house.registry.folder(SLOT).glob(f"meta_classifier_{one}*")).unlink()
    again, _ = house.start()
    live = await again.resume(None, one)
    assert live is not None
    assert (live.model_id, again.left_by_hand) == (two, True)


async def test_only_a_rollback_is_told_as_one_whatever_reason_a_person_gave(house: House) -> None:
    house.deploy(0)
    serving, _ = house.start()
    await serving.resume(None, None)
    reason = "rollback of the fees"
    two = house.deploy(1, reason=reason)
    live = await serving.resume(None, house.ids[0])
    assert live is not None
    assert not (await serving.found(live, house.ids[0])).rollback
    back = actions.Rollback(slot=str(SLOT), at_ms=0, to_model_id=house.ids[0], reason="worse")
    served = await serving.change(back)
    assert isinstance(served, events.ModelServed)
    assert served.rollback
    order = {"job_id": "j", "model_id": two, "trigger": "command", "reason": reason}
    served = await serving.change(actions.Deploy(slot=str(SLOT), at_ms=0, **order))
    assert isinstance(served, events.ModelServed)
    assert not served.rollback


@pytest.mark.parametrize(
    ("told", "threshold"), [({"threshold_in_force": 0.0042}, 0.0042), ({}, 0.0), (None, 0.0)]
)
def test_a_relative_threshold_reaches_the_engine_as_what_it_was_at_the_newest_bar(
    tmp_path: Path, told: dict[str, float] | None, threshold: float
) -> None:
    meta = certificate() | ({} if told is None else {"settings": told})
    manifest = read_manifest(write_version(tmp_path, meta=meta, threshold="vol:0.8"))
    news = model_served(manifest, tmp_path, previous_id=None, reason="", slot="BTC-5m", at_ms=1)
    assert news.threshold == threshold


@pytest.mark.parametrize(
    ("rule", "share"),
    [({"up": {"share": 0.005}, "down": {"share": 0.007}}, 0.012), ({"up": None}, 0.0), (None, 0.0)],
)
def test_the_engine_is_told_how_often_the_rule_of_the_model_speaks(
    tmp_path: Path, rule: dict[str, Any] | None, share: float
) -> None:
    meta = certificate() | ({} if rule is None else {"decision_rule": rule})
    manifest = read_manifest(write_version(tmp_path, meta=meta))
    news = model_served(manifest, tmp_path, previous_id=None, reason="", slot="BTC-5m", at_ms=1)
    assert news.signal_share == pytest.approx(share)


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [(0.0075, 0.005, 0.0075), (0.005, 0.005, 0.0), ("vol:0.8", 0.005, 0.0)],
)
def test_probation_is_told_the_threshold_of_the_previous_version_where_it_is_another(
    tmp_path: Path, before: float | str, now: float | str, told: float
) -> None:
    first, second = (
        read_manifest(write_version(tmp_path / str(n), n, threshold=asked))
        for n, asked in ((1, before), (2, now))
    )
    news = model_served(
        second,
        tmp_path / "2",
        previous_id=first.model_id,
        previous=first,
        reason="",
        slot="BTC-5m",
        at_ms=1,
    )
    assert news.previous_threshold == pytest.approx(told)
