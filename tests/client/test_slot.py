import asyncio
import contextlib
import json
import time
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from daemon.runtime.swap import SwapCoordinator
from hyperdrift.blocking import BlockingModelSlot
from hyperdrift.clock import SystemClock
from hyperdrift.errors import BadInput, ConfigError, VersionRefused
from hyperdrift.fetch.order_follower import OrderFollower
from hyperdrift.live_model import LiveModel
from hyperdrift.loaded_model import load_version
from hyperdrift.manifest import Manifest
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from hyperdrift.mqtt.messages import BotPresence, PredictionMade, SwapAck, SwapOrder, TradeReport
from hyperdrift.mqtt.topics import Topics
from hyperdrift.slot import ModelSlot, NoModel
from hyperdrift.slot_name import SlotName
from hyperdrift.version_files import read_manifest
from tests.captured import capture_logs
from tests.client.trades import TRADE
from tests.daemon.brokers import Embedded, Mosquitto, until
from tests.daemon.versions import certificate, replace_file, rewrite, rows, write_version

SLOT, TOPICS = SlotName("BTC", "5m"), Topics()
NOW = 1_760_000_000_000


@dataclass
class Desk:
    """The daemon's side of one slot: registry, bus and coordinator, and what they heard."""

    url: str
    root: Path
    bus: MqttConnection
    registry: Registry
    swap: SwapCoordinator
    signer: Signer
    acks: list[SwapAck] = field(default_factory=list)
    made: int = 0

    def version(self, **options: Any) -> str:
        self.made += 1
        manifest = write_version(self.root / f"candidate{self.made}", self.made, **options)
        return self.registry.adopt(SLOT, manifest)

    def deploy(self, model_id: str, **options: Any) -> Manifest:
        return self.registry.deploy(SLOT, model_id, reason="test", by="test", at_ms=NOW, **options)

    def order(self, manifest: Manifest) -> str:
        return self.swap.order(SLOT, manifest, self.registry.pointer(SLOT), "test")

    async def ack_of(self, swap_id: str) -> SwapAck:
        await until(lambda: any(ack.swap_id == swap_id for ack in self.acks))
        return next(ack for ack in self.acks if ack.swap_id == swap_id)

    async def swap_to(self, model_id: str, **options: Any) -> SwapAck:
        return await self.ack_of(self.order(self.deploy(model_id, **options)))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    broker = Mosquitto(tmp_path)
    await broker.start()
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    signer = Signer.load(tmp_path / "private.pem")
    async with desk_on(broker, tmp_path, signer) as made:
        yield made
    await broker.stop()


@contextlib.asynccontextmanager
async def desk_on(broker: Mosquitto | Embedded, root: Path, signer: Signer) -> AsyncIterator[Desk]:
    bus = MqttConnection(BrokerAddress.parse(broker.url), SystemClock())
    acks: list[SwapAck] = []
    swap = SwapCoordinator(
        bus,
        TOPICS,
        SystemClock(),
        on_ack=lambda _slot, ack, _ms: acks.append(ack),
        on_silence=lambda _slot, _text: None,
        signer=signer,
    )
    swap.watch(SLOT)
    registry = Registry(root / "models", signer)
    task = asyncio.create_task(bus.run())
    try:
        await bus.wait_connected()
        yield Desk(broker.url, root, bus, registry, swap, signer, acks)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def bot(desk: Desk, **options: Any) -> AsyncIterator[ModelSlot]:
    slot = ModelSlot(desk.url, str(SLOT), bot_id="b", **options)
    await slot.start()
    try:
        yield slot
    finally:
        await slot.stop()


async def test_a_bot_without_a_model_says_so_and_takes_the_first_one_it_is_ordered(
    broker: Mosquitto | Embedded, tmp_path: Path
) -> None:
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    async with desk_on(broker, tmp_path, Signer.load(tmp_path / "private.pem")) as desk:
        async with bot(desk, public_key=tmp_path / "public.pem") as slot:
            with pytest.raises(NoModel, match="BTC-5m has no model yet"):
                slot.predict([0.0] * 17)
            one = desk.version()
            ack = await desk.swap_to(one)
            assert (ack.status, ack.error, ack.bot_id) == ("loaded", "", "b")
            assert slot.model_id == one
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                got = slot.predict(rows()[0].tolist())
            (expected,) = load_version(desk.registry.pointer(SLOT)).predict(rows()[:1])
            assert np.allclose((got.p_down, got.p_neutral, got.p_up), expected, atol=1e-12)
            assert got.model_id == one
            await until(lambda: (b := desk.swap.bot(SLOT)) and b.model_id == one)
        await until(lambda: desk.swap.bot(SLOT) is None)


async def test_the_decision_follows_the_thresholds_of_the_manifest(desk: Desk) -> None:
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        seen = set()
        for row in rows()[:60]:
            got = slot.predict(row.tolist())
            up, down = got.p_up - 0.4, got.p_down - 0.4
            expected = 1 if max(up, down) < 0 else (2 if up >= down else 0)
            assert got.decision == expected
            seen.add(expected)
        assert seen == {0, 1, 2}


async def test_the_old_model_answers_until_the_new_one_has_passed_and_no_bar_is_unanswered(
    desk: Desk,
) -> None:
    async with bot(desk) as slot:
        one, two = desk.version(), desk.version()
        await desk.swap_to(one)
        answers: list[str] = []
        order = desk.order(desk.deploy(two))
        while not any(ack.swap_id == order for ack in desk.acks):
            answers.append(slot.predict(rows()[0].tolist()).model_id)
            await asyncio.sleep(0)
        answers.append(slot.predict(rows()[0].tolist()).model_id)
        assert answers[0] == one
        assert answers[-1] == two
        assert answers == sorted(answers), "it went over once and not back"


async def refused(desk: Desk, slot: ModelSlot, because: str) -> None:
    """Order what LATEST.json names; the bot must refuse it and keep its model."""
    before = slot.model_id
    pointer = desk.registry.pointer(SLOT)
    document = json.loads(pointer.read_text())
    answer = await desk.ack_of(desk.order(read_manifest(pointer)))
    assert answer.status == "refused", document
    assert because in answer.error
    assert slot.model_id == before
    if before is not None:
        slot.predict(rows()[0].tolist())


async def held_back(desk: Desk, slot: ModelSlot, manifest: Manifest, because: str) -> None:
    """Order a version; the bot must wait, say why, refuse nothing and keep its model."""
    before, order = slot.model_id, desk.order(manifest)
    await until(lambda: (b := desk.swap.bot(SLOT)) and because in b.waiting_for)
    assert all(ack.swap_id != order for ack in desk.acks)
    assert slot.model_id == before
    if before is not None:
        slot.predict(rows()[0].tolist())


class Planted:
    """A pickle that leaves a trace when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def planted(tmp_path: Path) -> tuple[bytes, Path]:
    import pickle

    trace = tmp_path / "it-ran"
    content = pickle.dumps(Planted(trace))
    pickle.loads(content)
    trace.unlink()  # so loading it would leave the trace
    return content, trace


async def test_a_tampered_model_file_is_not_unpickled_and_the_right_one_is_waited_for(
    desk: Desk, tmp_path: Path
) -> None:
    content, trace = planted(tmp_path)
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        desk.deploy(desk.version())
        document = json.loads(desk.registry.pointer(SLOT).read_text())
        path = desk.registry.folder(SLOT) / document["meta_classifier"]
        right = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        live = read_manifest(desk.registry.pointer(SLOT))
        await held_back(desk, slot, live, "SHA-256")
        assert not trace.exists()
        path.write_bytes(right)
        await until(lambda: slot.model_id == live.model_id)
        await until(lambda: desk.acks[-1].status == "loaded")
        await until(lambda: (b := desk.swap.bot(SLOT)) and not b.waiting_for)


async def test_digests_that_are_not_those_of_the_order_are_not_unpickled(
    desk: Desk, tmp_path: Path
) -> None:
    content, trace = planted(tmp_path)
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        manifest = desk.deploy(desk.version())
        replace_file(desk.registry.pointer(SLOT), "meta_classifier", content)
        await held_back(desk, slot, manifest, "digests of the order")
    assert not trace.exists()


async def test_a_forged_version_with_fitting_digests_is_refused_by_its_signature(
    desk: Desk, tmp_path: Path
) -> None:
    content, trace = planted(tmp_path)
    async with bot(desk, public_key=tmp_path / "public.pem") as slot:
        await desk.swap_to(desk.version())
        desk.deploy(desk.version())
        replace_file(desk.registry.pointer(SLOT), "meta_classifier", content)
        await refused(desk, slot, "signature")
        rewrite(desk.registry.pointer(SLOT), signature=None)
        await refused(desk, slot, "not signed")
    assert not trace.exists()


async def test_an_order_that_the_daemon_did_not_sign_is_refused(desk: Desk, tmp_path: Path) -> None:
    async with bot(desk, public_key=tmp_path / "public.pem") as slot:
        manifest = desk.deploy(desk.version())
        generate(tmp_path / "mallory.pem", tmp_path / "mallory.pub")
        forger = SwapCoordinator(
            desk.bus,
            TOPICS,
            SystemClock(),
            on_ack=lambda _slot, ack, _ms: desk.acks.append(ack),
            on_silence=lambda *_: None,
            signer=Signer.load(tmp_path / "mallory.pem"),
        )
        forger.watch(SLOT)
        order = forger.order(SLOT, manifest, desk.registry.pointer(SLOT), "mine")
        ack = await desk.ack_of(order)
        assert (ack.status, slot.model_id) == ("refused", None)
        assert "not signed with the daemon's key" in ack.error


@pytest.mark.parametrize(
    ("meta", "because"),
    [
        (certificate(refused=("beats_prior",)), "beats_prior"),
        ({**certificate(), "passed": False}, "did not pass"),
        ({**certificate(), "gates": certificate()["gates"][1:]}, "incomplete"),
        ({**certificate(), "gates": None}, "no certificate"),
        ({"passed": True}, "no certificate"),
    ],
)
async def test_a_version_without_a_whole_and_passed_certificate_is_refused_unless_promoted(
    desk: Desk, tmp_path: Path, meta: dict[str, Any], because: str
) -> None:
    async with bot(desk, public_key=tmp_path / "public.pem") as slot:
        await desk.swap_to(desk.version())
        model_id = desk.version(meta=meta)
        desk.deploy(model_id, promoted_by="alice")
        pointer = desk.registry.pointer(SLOT)
        document = {**json.loads(pointer.read_text()), "promoted_by": None}
        rewrite(pointer, promoted_by=None, signature=desk.signer.sign(document))
        await refused(desk, slot, because)
        assert (await desk.swap_to(model_id, promoted_by="alice")).status == "loaded"


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"sklearn": "0.24.2"}, "was written by scikit-learn 0.24.2"),
        ({"python": "2.7.18"}, "was written by Python 2.7.18"),
        ({"schema_hash": "000000000000"}, "other features"),
        ({"slot": "ETH-5m"}, "model of ETH-5m, not of BTC-5m"),
    ],
)
async def test_what_the_manifest_says_of_itself_must_fit_this_bot(
    desk: Desk, changes: dict[str, Any], because: str
) -> None:
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        manifest = desk.deploy(desk.version())
        rewrite(desk.registry.pointer(SLOT), **changes)
        ack = await desk.ack_of(desk.order(manifest))
        assert (ack.status, because in ack.error) == ("refused", True), ack.error
        assert slot.model_id != manifest.model_id


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"class_order": [2, 1, 0]}, "class_order"),
        ({"sha256": {}}, "does not cover"),
        ({"model_id": "20200101_000000_x"}, "LATEST.json names"),
    ],
)
async def test_a_manifest_that_is_not_the_one_of_the_order_is_waited_for(
    desk: Desk, changes: dict[str, Any], because: str
) -> None:
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        manifest = desk.deploy(desk.version())
        rewrite(desk.registry.pointer(SLOT), **changes)
        await held_back(desk, slot, manifest, because)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": []},
        {"rows": [[float("nan")] * 17] * 32},
        {"rows": [[1e300] * 17] * 32},
        {"rows": [["1"] * 16] * 32},
        {"probabilities": [[0.2, 0.5, 0.3]]},
        {"probabilities": None},
    ],
)
def test_golden_rows_that_are_none_are_a_refusal(tmp_path: Path, change: dict[str, Any]) -> None:
    pointer = write_version(tmp_path)
    document = json.loads(pointer.read_bytes())
    golden = json.loads((tmp_path / document["golden"]).read_bytes()) | change
    replace_file(pointer, "golden", json.dumps(golden).encode())
    with pytest.raises(VersionRefused):
        load_version(pointer)


async def test_a_model_that_does_not_reproduce_its_golden_rows_is_refused(desk: Desk) -> None:
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        desk.deploy(desk.version())
        pointer = desk.registry.pointer(SLOT)
        document = json.loads(pointer.read_text())
        golden = json.loads((pointer.parent / document["golden"]).read_bytes())
        golden["probabilities"][3][0] += 1e-6
        replace_file(pointer, "golden", json.dumps(golden).encode())
        await refused(desk, slot, "golden rows")


async def test_a_missing_or_malformed_pointer_is_waited_for_and_takes_nothing_back(
    desk: Desk,
) -> None:
    async with bot(desk) as slot:
        one = desk.version()
        await desk.swap_to(one)
        manifest = desk.deploy(desk.version())
        pointer = desk.registry.pointer(SLOT)
        for damage, why in ((b"", "not JSON"), (b"[1]", "not a JSON object"), (b"{}", "KeyError")):
            pointer.write_bytes(damage)
            await held_back(desk, slot, manifest, why)
        pointer.unlink()
        await held_back(desk, slot, manifest, "cannot be read")
        desk.bus.publish(TOPICS.model(SLOT), {"swap_id": 5})  # no order at all
        assert slot.model_id == one
        assert (await desk.swap_to(one)).status == "loaded"


async def test_the_same_order_and_the_same_model_are_acknowledged_at_once(desk: Desk) -> None:
    async with bot(desk) as slot:
        one = desk.version()
        await desk.swap_to(one)
        first, manifest = slot._model._live, desk.deploy(one)
        desk.registry.pointer(SLOT).unlink()  # nor is it looked for
        assert (await desk.ack_of(desk.order(manifest))).status == "loaded"
        assert slot._model._live is first, "not loaded again"


async def test_an_older_order_is_refused_so_that_a_replay_cannot_bring_back_an_old_model(
    desk: Desk,
) -> None:
    async with bot(desk) as slot:
        one, two = desk.version(), desk.version()
        old = desk.order(desk.deploy(one))
        await desk.ack_of(old)
        replay = desk.swap._pending[SLOT].order
        await desk.swap_to(two)
        answers = []
        listener = MqttConnection(BrokerAddress.parse(desk.url), SystemClock())
        listener.subscribe(TOPICS.ack(SLOT), lambda _t, body, _r: answers.append(body))
        task = asyncio.create_task(listener.run())
        await listener.wait_connected()
        desk.bus.publish(TOPICS.model(SLOT), replay, retain=True)
        await until(lambda: answers)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        ack = msgspec.json.decode(answers[0], type=SwapAck)
        assert (ack.status, slot.model_id) == ("refused", two)
        assert "older than the last accepted" in ack.error


@pytest.mark.parametrize("sees_folder", [True, False])
async def test_a_bot_that_was_started_again_takes_no_old_model_for_an_old_order(
    desk: Desk, *, sees_folder: bool
) -> None:
    options: dict[str, Any] = {"public_key": desk.root / "public.pem"}
    if sees_folder:
        options["models_dir"] = desk.root / "models"
    one, two = desk.version(), desk.version()
    old = desk.order(desk.deploy(one))
    replay = desk.swap._pending[SLOT].order
    newest = desk.order(desk.deploy(two))
    desk.bus.publish(TOPICS.model(SLOT), replay, retain=True)  # all that it finds
    await desk.bus.flush()
    async with bot(desk, **options) as slot:
        await until(lambda: (b := desk.swap.bot(SLOT)) and f"names {two}" in b.waiting_for)
        assert old not in {ack.swap_id for ack in desk.acks}
        assert slot.model_id == (two if sees_folder else None)
        desk.swap._send(SLOT)  # as it repeats what is not answered
        assert (await desk.ack_of(newest)).status == "loaded"
        assert slot.model_id == two


async def test_of_many_orders_at_once_the_newest_wins(desk: Desk) -> None:
    async with bot(desk) as slot:
        ids = [desk.version() for _ in range(4)]
        orders = [desk.order(desk.deploy(model_id)) for model_id in ids]
        assert (await desk.ack_of(orders[-1])).status == "loaded"
        assert slot.model_id == ids[-1]


async def test_a_bot_that_was_away_finds_the_order_when_it_returns(desk: Desk) -> None:
    one = desk.version()
    order = desk.order(desk.deploy(one))
    await desk.bus.flush()
    async with bot(desk) as slot:
        await slot_has(slot, one)
        assert (await desk.ack_of(order)).status == "loaded"


async def slot_has(slot: ModelSlot, model_id: str) -> None:
    await until(lambda: slot.model_id == model_id)


async def test_with_its_own_view_of_the_models_folder_a_bot_starts_without_a_broker(
    desk: Desk,
) -> None:
    one, two = desk.version(), desk.version()
    desk.deploy(one)
    models = desk.root / "models"
    slot = ModelSlot("mqtt://127.0.0.1:1", str(SLOT), bot_id="b", models_dir=models)
    await slot.start(wait_s=60)
    assert slot.model_id == one
    assert not slot.connected
    await slot.stop()
    assert slot.predict(rows()[0].tolist()).model_id == one, "it goes on answering"
    async with bot(desk, models_dir=models) as slot:
        order = desk.swap.order(SLOT, desk.deploy(two), Path("/elsewhere/LATEST.json"), "test")
        assert (await desk.ack_of(order)).status == "loaded"
        assert slot.model_id == two


async def test_waiting_for_a_first_model_that_does_not_come_ends_with_no_model(
    desk: Desk,
) -> None:
    slot = ModelSlot(desk.url, str(SLOT), bot_id="b")
    with pytest.raises(NoModel):
        await slot.start(wait_s=0.05)
    await slot.stop()


async def test_loading_does_not_hold_up_the_bot_and_the_order_is_answered_within_a_second(
    desk: Desk,
) -> None:
    async with bot(desk):
        await desk.swap_to(desk.version())  # the first one also imports scikit-learn
        worst, stop = 0.0, asyncio.Event()
        now = time.process_time  # what others on this host do takes none of it

        async def heartbeat() -> None:
            nonlocal worst
            while not stop.is_set():
                began = now()
                await asyncio.sleep(0.001)
                worst = max(worst, now() - began)

        task = asyncio.create_task(heartbeat())
        for _ in range(3):
            manifest = await asyncio.to_thread(desk.deploy, await asyncio.to_thread(desk.version))
            began = now()
            assert (await desk.ack_of(desk.order(manifest))).status == "loaded"
            assert now() - began < 1
        stop.set()
        await task
        assert worst < 0.25, f"the loop stood still for {worst:.3f} s"


async def test_predictions_and_trades_reach_the_daemon(desk: Desk) -> None:
    heard: dict[str, bytes] = {}
    desk.bus.subscribe(TOPICS.prediction(SLOT), lambda t, body, _r: heard.update({t: body}))
    desk.bus.subscribe(TOPICS.trade(SLOT), lambda t, body, _r: heard.update({t: body}))
    async with bot(desk) as slot:
        await desk.swap_to(desk.version())
        prediction = slot.predict(rows()[0].tolist())
        slot.publish_prediction(NOW, prediction, rows()[0].tolist())
        slot.publish_trade(TRADE)
        await until(lambda: len(heard) == 2)
    made = msgspec.json.decode(heard[TOPICS.prediction(SLOT)], type=PredictionMade)
    assert (made.t, made.model_id) == (NOW, prediction.model_id)
    assert made.features == tuple(rows()[0])
    assert msgspec.json.decode(heard[TOPICS.trade(SLOT)], type=TradeReport) == TRADE


async def test_the_blocking_twin_answers_from_any_thread_and_follows_swaps(desk: Desk) -> None:
    one, two = desk.version(), desk.version()

    def body(slot: BlockingModelSlot, model_id: str) -> str:
        deadline = time.monotonic() + 60
        while slot.model_id != model_id and time.monotonic() < deadline:
            time.sleep(0.01)
        prediction = slot.predict(rows()[0].tolist())
        slot.publish_prediction(NOW, prediction)
        return prediction.model_id

    heard: list[bytes] = []
    desk.bus.subscribe(TOPICS.prediction(SLOT), lambda _t, payload, _r: heard.append(payload))
    slot = BlockingModelSlot(ModelSlot(desk.url, str(SLOT), bot_id="b"))
    desk.order(desk.deploy(one))
    await asyncio.to_thread(slot.start, 60)
    assert await asyncio.to_thread(body, slot, one) == one
    desk.order(desk.deploy(two))
    assert await asyncio.to_thread(body, slot, two) == two
    await until(lambda: len(heard) == 2)
    await asyncio.to_thread(slot.stop)
    await until(lambda: desk.swap.bot(SLOT) is None)


async def test_a_start_that_was_cancelled_can_be_made_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, load, hangs = desk.version(), OrderFollower.load_at_start, asyncio.Event()
    desk.order(desk.deploy(one))
    monkeypatch.setattr(OrderFollower, "load_at_start", lambda _self: hangs.wait())
    slot = ModelSlot(desk.url, str(SLOT), bot_id="b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slot.start(), 0.05)  # its folder is on a disk that hangs
    monkeypatch.setattr(OrderFollower, "load_at_start", load)
    await slot.start(wait_s=60)
    assert slot.model_id == one
    await slot.stop()


async def test_a_slot_that_is_stopped_while_it_starts_does_not_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = asyncio.Event()
    monkeypatch.setattr(OrderFollower, "load_at_start", lambda _self: loaded.wait())
    slot = ModelSlot("mqtt://127.0.0.1:9", str(SLOT), bot_id="b")
    start = asyncio.create_task(slot.start())
    await asyncio.sleep(0)
    await slot.stop()
    loaded.set()
    await start
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("slot-")]


async def test_a_version_in_the_folder_that_cannot_be_used_is_said_once_and_stops_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise AttributeError("'LogisticRegression' object has no attribute 'multi_class'")

    desk.deploy(desk.version())
    monkeypatch.setattr("hyperdrift.fetch.order_follower.WAITS_S", (0.01,))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(LiveModel, "take", broken)
        async with bot(desk, models_dir=desk.root / "models") as slot:
            await asyncio.sleep(0.2)
            two = desk.version()
            assert (await desk.swap_to(two)).status == "loaded"
            assert slot.model_id == two
    (line,) = [line for line in logs if line["event"] == "slot.refused"]
    assert "has no attribute 'multi_class'" in line["why"]


async def test_libraries_that_cannot_be_imported_are_told_in_the_answer_to_an_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr("hyperdrift.fetch.order_follower.preload", broken)
    monkeypatch.setattr("hyperdrift.forms.joblib_form.load_joblib", broken)
    async with bot(desk):
        ack = await desk.swap_to(desk.version())
    assert (ack.status, "numpy.dtype size changed" in ack.error) == ("refused", True)


async def test_a_bot_that_refuses_says_at_once_that_it_waits_for_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    async with bot(desk, public_key=tmp_path / "public.pem") as slot:
        await desk.swap_to(desk.version())
        manifest, pointer = desk.deploy(desk.version()), desk.registry.pointer(SLOT)
        content = pointer.read_bytes()
        pointer.unlink()
        await held_back(desk, slot, manifest, "cannot be read")
        pointer.write_bytes(content)
        rewrite(pointer, signature=None)
        await refused(desk, slot, "not signed")
        await until(lambda: (b := desk.swap.bot(SLOT)) and not b.waiting_for)


def test_a_misspelt_slot_or_address_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="BTC-5m"):
        ModelSlot("mqtt://h", "BTC", bot_id="b")
    with pytest.raises(ConfigError, match="mqtt://"):
        ModelSlot("localhost", "BTC-5m", bot_id="b")


def test_the_offline_presence_says_only_who_is_gone() -> None:
    slot = ModelSlot("mqtt://h", "BTC-5m", bot_id="b")
    assert slot._presence(online=False) == BotPresence(
        online=False,
        bot_id="b",
        python=slot._presence(online=True).python,
        forms=("onnx", "joblib"),
        sklearn=slot._presence(online=True).sklearn,
    )


def test_an_order_of_the_contract_is_read_with_unknown_fields_ignored() -> None:
    text = (
        b'{"swap_id":"1","model_id":"m","manifest":"/m/LATEST.json","sha256":{"a":"b"},'
        b'"sklearn":"1.9.1","reason":"drift","issued_ms":1,"colour":"blue"}'
    )
    assert msgspec.json.decode(text, type=SwapOrder).sha256 == {"a": "b"}
