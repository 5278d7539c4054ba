"""A bot without MQTT: LATEST.json alone swaps its model, after the same checks."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daemon.registry.registry import Registry
from daemon.registry.signing import Signer, generate
from hyperdrift.errors import BadInput, NoModel
from hyperdrift.pointer import PointerSlot
from hyperdrift.slot_name import SlotName
from tests.captured import capture_logs
from tests.daemon.versions import rows, write_version

SLOT = SlotName("BTC", "5m")
NOW = 1_760_000_000_000
ROW = rows()[0].tolist()
# Longer than any test: what is seen was told by the system, not found by looking.
NEVER_S = 600.0


class Shop:
    """The daemon's side: a signed registry."""

    def __init__(self, root: Path) -> None:
        generate(root / "private.pem", root / "public.pem")
        self.root, self.key = root, root / "public.pem"
        self.models = root / "models"
        self.registry = Registry(self.models, Signer.load(root / "private.pem"))
        self.made = 0

    def version(self) -> str:
        self.made += 1
        manifest = write_version(self.root / f"candidate{self.made}", self.made)
        return self.registry.adopt(SLOT, manifest)

    def deploy(self) -> str:
        model_id = self.version()
        self.registry.deploy(SLOT, model_id, reason="test", by="test", at_ms=NOW)
        return model_id

    def slot(self, poll_s: float = NEVER_S) -> PointerSlot:
        return PointerSlot(self.models, str(SLOT), public_key=self.key, poll_s=poll_s)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def until(true: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_live_answers_at_once_and_a_deploy_or_rollback_takes_over(shop: Shop) -> None:
    one = shop.deploy()
    with shop.slot() as slot:
        assert slot.predict(ROW).model_id == one
        two = shop.deploy()
        until(lambda: slot.model_id == two)
        shop.registry.rollback(SLOT, reason="worse", by="test", at_ms=NOW)
        until(lambda: slot.model_id == one and not slot.refusal)
    assert slot.predict(ROW).model_id == one, "it goes on answering"


async def test_an_asyncio_bot_uses_it_the_same_way(shop: Shop) -> None:
    one = shop.deploy()
    async with shop.slot() as slot:
        assert slot.predict(ROW).model_id == one


def test_a_folder_that_comes_later_goes_away_and_comes_back_is_followed(shop: Shop) -> None:
    with shop.slot(poll_s=0.02) as slot:
        with pytest.raises(NoModel, match="no model yet"):
            slot.predict(ROW)
        one = shop.deploy()
        until(lambda: slot.model_id == one)
        shutil.move(shop.models, shop.root / "away")
        assert slot.predict(ROW).model_id == one
        shutil.move(shop.root / "away", shop.models)
        two = shop.deploy()
        until(lambda: slot.model_id == two)
        shutil.copytree(shop.models, shop.root / "copy")
        shutil.rmtree(shop.models)
        shutil.move(shop.root / "copy", shop.models)  # another folder of the same name
        three = shop.deploy()
        until(lambda: slot.model_id == three)


def test_waiting_for_a_first_model_that_does_not_come_ends_with_no_model(shop: Shop) -> None:
    slot = shop.slot()
    with pytest.raises(NoModel):
        slot.start(wait_s=0.02)
    slot.stop()


def test_no_prediction_is_torn_or_missing_while_pointers_fly_by(shop: Shop) -> None:
    ids = [shop.deploy()]
    with shop.slot() as slot:
        answers: list[str] = []
        done = threading.Event()

        def bot() -> None:
            while not done.is_set():
                answers.append(slot.predict(ROW).model_id)

        thread = threading.Thread(target=bot)
        thread.start()
        ids += [shop.deploy() for _ in range(6)]
        until(lambda: slot.model_id == ids[-1])
        done.set()
        thread.join()
    order = [ids.index(model_id) for model_id in answers]
    assert order == sorted(order), "it never went back"
    assert answers[0] == ids[0]


def test_a_refused_pointer_is_said_once_and_taken_when_what_was_missing_comes(shop: Shop) -> None:
    one = shop.deploy()
    model = next(shop.registry.folder(SLOT).glob("meta_classifier_*"))
    content = model.read_bytes()
    model.unlink()
    with capture_logs() as logs, shop.slot() as slot:
        assert "cannot be read" in slot.refusal
        assert slot.model_id is None
        for number in range(3):
            (model.parent / str(number)).touch()  # each one makes it look again
        model.write_bytes(content)
        until(lambda: not slot.refusal)
        assert slot.model_id == one
    refusals = {entry["why"] for entry in logs if entry["event"] == "slot.refused"}
    assert [entry["event"] for entry in logs].count("slot.refused") == len(refusals)


def test_a_folder_that_this_user_may_not_read_is_said_once_and_read_once_it_may(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, stat = shop.deploy(), Path.stat
    closed = threading.Event()
    closed.set()

    def guarded(path: Path, **options: bool) -> os.stat_result:
        if closed.is_set() and shop.models in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", guarded)
    with capture_logs() as logs, shop.slot(poll_s=0.01) as slot:
        time.sleep(0.1)  # it looks again and again
        until(lambda: slot.refusal)
        assert slot.refusal.endswith(
            "LATEST.json: Permission denied; let this user read the folder"
        )
        closed.clear()
        until(lambda: slot.model_id == one and not slot.refusal)
    assert [entry["event"] for entry in logs] == ["slot.refused", "slot.swapped"]


def test_libraries_that_cannot_be_imported_end_no_watch(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_form: str) -> None:
        raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setattr("hyperdrift.pointer.preload", broken)
    with shop.slot(poll_s=0.02) as slot:
        one = shop.deploy()
        until(lambda: slot.model_id == one)


def test_an_older_pointer_that_comes_back_is_refused(shop: Shop) -> None:
    shop.deploy()
    old = shop.registry.pointer(SLOT).read_bytes()
    with shop.slot() as slot:
        two = shop.deploy()
        until(lambda: slot.model_id == two)
        shop.registry.pointer(SLOT).write_bytes(old)
        until(lambda: "an old LATEST.json came back" in slot.refusal)
        assert slot.predict(ROW).model_id == two


def test_a_misspelt_slot_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="BTC-5m"):
        PointerSlot(tmp_path, "BTC")


def test_on_a_folder_that_reports_no_changes_what_was_missing_is_found_by_looking(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a network: the pointer is there first, a file comes later, and nobody tells."""
    monkeypatch.setattr("hyperdrift.process.folder_watch.FolderWatch.start", lambda _self: None)
    folder = shop.registry.folder(SLOT)
    with shop.slot(poll_s=0.05) as slot:
        one = shop.deploy()
        until(lambda: slot.model_id == one)
        latest = (folder / "LATEST.json").read_bytes()
        two = shop.deploy()
        until(lambda: slot.model_id == two)
        (golden,) = folder.glob(f"golden_{two}*")
        content = golden.read_bytes()
    golden.write_bytes(content[:100])  # half of it has come over
    with shop.slot(poll_s=0.05) as slot:
        until(lambda: "SHA-256" in slot.refusal)
        golden.write_bytes(content)
        until(lambda: slot.model_id == two and not slot.refusal)
        (folder / "LATEST.json").write_bytes(latest)  # an old copy out of a cache
        until(lambda: "an old LATEST.json" in slot.refusal)
        assert slot.predict(ROW).model_id == two
