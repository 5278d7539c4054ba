import contextlib
import hashlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import pytest

from daemon.core.atomic_files import Files
from daemon.registry.latest_pointer import LATEST
from daemon.registry.registry import Registry
from daemon.registry.signing import KeyRing, Signer, generate
from daemon.registry.version_info import signals_told
from hyperdrift.errors import VersionRefused
from hyperdrift.signatures import Verifier
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import certificate, replace_file, rewrite, write_version

SLOT = SlotName("BTC", "5m")
NOW = 1_760_000_000_000


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def adopt(registry: Registry, tmp_path: Path, *numbers: int, **options: Any) -> list[str]:
    found = []
    for n in numbers:
        made = list((tmp_path / f"candidate{n}").glob("manifest_*"))
        both = {"portable": True, **options}
        manifest = made[0] if made else write_version(tmp_path / f"candidate{n}", n, **both)
        found.append(registry.adopt(SLOT, manifest))
    return found


def deploy(registry: Registry, model_id: str, at_ms: int = NOW, **options: Any) -> None:
    registry.deploy(SLOT, model_id, reason="test", by="test", at_ms=at_ms, **options)


def roll_back(registry: Registry, to: str | None = None, at_ms: int = NOW) -> str:
    return registry.rollback(SLOT, to, reason="worse", by="test", at_ms=at_ms).model_id


def live_id(registry: Registry) -> str | None:
    live = registry.live(SLOT)
    return live.model_id if live else None


def test_an_adopted_version_is_listed_and_not_live_until_it_is_deployed(
    registry: Registry, tmp_path: Path
) -> None:
    (one,) = adopt(registry, tmp_path, 1)
    assert registry.live(SLOT) is None
    deploy(registry, one)
    (info,) = registry.versions(SLOT)
    assert (info.model_id, info.live, info.passed) == (one, True, True)
    assert (info.test_accuracy, info.skill) == (0.71, 0.03)
    assert (
        signals_told(asdict(info)) == "10.0% of test bars, 55.0% won, mean return after fees +0.12%"
    )
    assert live_id(registry) == one


def test_what_lies_beside_a_candidate_under_its_name_is_adopted_too(
    registry: Registry, tmp_path: Path
) -> None:
    manifest = write_version(tmp_path / "c", 1)
    model_id = manifest.stem.removeprefix("manifest_")
    (tmp_path / "c" / f"drift_{model_id}.json").write_text("{}")
    registry.adopt(SLOT, manifest)
    assert (registry.folder(SLOT) / f"drift_{model_id}.json").read_text() == "{}"


def test_adopting_twice_changes_nothing_and_another_content_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    (one,) = adopt(registry, tmp_path, 1)
    assert adopt(registry, tmp_path, 1) == [one]
    other = write_version(tmp_path / "other", 1, meta={**certificate(), "note": "another"})
    with pytest.raises(VersionRefused, match="never overwritten"):
        registry.adopt(SLOT, other)
    assert registry.verify(SLOT, one).model_id == one


def test_a_damaged_candidate_is_not_adopted(registry: Registry, tmp_path: Path) -> None:
    manifest = write_version(tmp_path / "c", 1)
    next(manifest.parent.glob("*.joblib")).write_bytes(b"cut short")
    with pytest.raises(VersionRefused, match="SHA-256"):
        registry.adopt(SLOT, manifest)
    assert registry.versions(SLOT) == ()


def test_the_daemon_serves_the_portable_form_and_never_unpickles_the_other(
    registry: Registry, tmp_path: Path
) -> None:
    manifest = write_version(tmp_path / "other", 1, portable=True)
    replace_file(manifest, "meta_classifier", b"no pickle that this scikit-learn could load")
    one = registry.adopt(SLOT, manifest)
    deploy(registry, one)
    assert registry.load(SLOT, one).form == "onnx"
    (old,) = adopt(registry, tmp_path, 2, portable=False)
    assert registry.load(SLOT, old).form == "joblib"


@pytest.mark.parametrize("lost", [True, False])
def test_a_version_whose_portable_form_is_lost_or_altered_is_not_served(
    registry: Registry, tmp_path: Path, *, lost: bool
) -> None:
    one, two = adopt(registry, tmp_path, 1, 2)
    deploy(registry, one)
    deploy(registry, two, NOW + 1000)
    path = registry.folder(SLOT) / f"model_{two}.onnx"
    path.unlink()
    if not lost:
        path.write_bytes(b"another model")
    with pytest.raises(VersionRefused, match=r"model_.*\.onnx"):
        registry.load(SLOT, two)
    assert registry.way_back(SLOT, two).model_id == roll_back(registry) == one


def test_a_model_of_another_slot_is_refused(registry: Registry, tmp_path: Path) -> None:
    manifest = write_version(tmp_path / "c", 1, slot="ETH-5m")
    with pytest.raises(VersionRefused, match="model of ETH-5m, not of BTC-5m"):
        registry.adopt(SLOT, manifest)


def test_a_version_that_its_gates_refused_goes_live_only_when_promoted_which_is_recorded(
    registry: Registry, tmp_path: Path
) -> None:
    (one,) = adopt(registry, tmp_path, 1, meta=certificate(refused=("direction",)))
    with pytest.raises(VersionRefused, match="direction"):
        deploy(registry, one)
    assert registry.live(SLOT) is None
    deploy(registry, one, promoted_by="alice")
    live = registry.live(SLOT)
    assert live is not None
    assert live.promoted_by == "alice"
    (info,) = registry.versions(SLOT)
    assert (info.promoted_by, info.passed, info.refused_by) == ("alice", False, ("direction",))


def test_the_pointer_is_signed_with_everything_in_it(tmp_path: Path) -> None:
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    registry = Registry(tmp_path / "models", Signer.load(tmp_path / "private.pem"))
    (one,) = adopt(registry, tmp_path, 1)
    deploy(registry, one)
    document = json.loads(registry.pointer(SLOT).read_text())
    verifier = Verifier.load(tmp_path / "public.pem")
    verifier.verify(document)
    with pytest.raises(VersionRefused):
        verifier.verify(document | {"promoted_by": "mallory"})


def test_rolling_back_twice_goes_back_two_versions_and_never_to_what_was_left(
    registry: Registry, tmp_path: Path
) -> None:
    one, two, three = adopt(registry, tmp_path, 1, 2, 3)
    for model_id in (one, two, three):
        deploy(registry, model_id)
    assert registry.previous(SLOT) == two
    assert roll_back(registry) == two
    assert roll_back(registry) == one
    with pytest.raises(VersionRefused, match="nothing to roll back to"):
        roll_back(registry)
    deploy(registry, three)
    assert registry.previous(SLOT) == one
    assert roll_back(registry, to=two) == two


def test_a_rollback_skips_a_damaged_previous_version(registry: Registry, tmp_path: Path) -> None:
    one, two, three = adopt(registry, tmp_path, 1, 2, 3)
    for model_id in (one, two, three):
        deploy(registry, model_id)
    next(registry.folder(SLOT).glob(f"*_{two}.joblib")).unlink()
    assert roll_back(registry) == one


def test_a_promoted_version_can_be_rolled_back_to_and_stays_marked(
    registry: Registry, tmp_path: Path
) -> None:
    (one,) = adopt(registry, tmp_path, 1, meta=certificate(refused=("direction",)))
    (two,) = adopt(registry, tmp_path, 2)
    deploy(registry, one, promoted_by="alice")
    deploy(registry, two)
    assert roll_back(registry) == one
    live = registry.live(SLOT)
    assert live is not None
    assert live.promoted_by == "alice"


def test_each_deploy_backs_up_the_pointer_and_files_that_were_live(
    registry: Registry, tmp_path: Path
) -> None:
    one, two = adopt(registry, tmp_path, 1, 2)
    deploy(registry, one)
    before = registry.pointer(SLOT).read_bytes()
    deploy(registry, two)
    (backup,) = (registry.folder(SLOT) / "backup").iterdir()
    assert backup.name == "20251009_085320"
    assert (backup / LATEST).read_bytes() == before
    saved = {path.name for path in backup.iterdir()}
    assert saved > set(json.loads(before)["sha256"])
    model = next(backup.glob("*.joblib"))
    assert model.stat().st_nlink == 2, "a hard link, not a copy"
    roll_back(registry)  # within the same second
    assert len(list((registry.folder(SLOT) / "backup").iterdir())) == 2


def test_the_time_of_a_move_only_grows_also_when_the_clock_steps_back_and_the_pointer_is_lost(
    registry: Registry, tmp_path: Path
) -> None:
    one, two, three = adopt(registry, tmp_path, 1, 2, 3)
    deploy(registry, one)
    deploy(registry, two, at_ms=NOW - 3_600_000)
    first = registry.live(SLOT)
    roll_back(registry, at_ms=NOW - 7_200_000)
    second = registry.live(SLOT)
    assert first is not None
    assert second is not None
    assert NOW < first.deployed_ms < second.deployed_ms
    registry.pointer(SLOT).unlink()
    deploy(registry, three, at_ms=NOW - 3_600_000)
    third = registry.live(SLOT)
    assert third is not None
    assert third.deployed_ms > first.deployed_ms


def test_the_pointer_says_who_moved_it_from_where_and_why(
    registry: Registry, tmp_path: Path
) -> None:
    one, two = adopt(registry, tmp_path, 1, 2)
    deploy(registry, one)
    registry.deploy(SLOT, two, reason="try", by="alice", at_ms=NOW + 5, promoted_by="alice")
    live = registry.live(SLOT)
    assert live is not None
    assert live.document["deployed"] == {
        "at_ms": NOW + 5, "action": "promote", "reason": "try", "by": "alice", "previous": one
    }  # fmt: skip


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"model_id": "x"}', None])
def test_with_a_lost_or_damaged_pointer_the_way_back_and_forward_stays_open(
    registry: Registry, tmp_path: Path, damage: bytes | None
) -> None:
    one, two, three = adopt(registry, tmp_path, 1, 2, 3)
    deploy(registry, one)
    deploy(registry, two)
    registry.pointer(SLOT).unlink()
    if damage is not None:
        registry.pointer(SLOT).write_bytes(damage)
        with pytest.raises(VersionRefused, match="rollback"):
            registry.live(SLOT)
    assert [info.live for info in registry.versions(SLOT)] == [False, False, False]
    assert roll_back(registry) == one
    deploy(registry, three)
    assert live_id(registry) == three


def test_a_version_with_a_damaged_certificate_is_listed_with_its_problem(
    registry: Registry, tmp_path: Path
) -> None:
    (one,) = adopt(registry, tmp_path, 1)
    next(registry.folder(SLOT).glob("training_meta_*")).write_text("{}")
    (info,) = registry.versions(SLOT)
    assert info.model_id == one
    assert "SHA-256" in info.problem


def test_pruning_keeps_the_newest_and_never_the_live_or_previous_version_goes(
    registry: Registry, tmp_path: Path
) -> None:
    ids = adopt(registry, tmp_path, 1, 2, 3, 4, 5)
    for model_id in ids[:2]:
        deploy(registry, model_id)
    assert registry.prune(SLOT, keep=1) == (ids[3], ids[2])
    assert [info.model_id for info in registry.versions(SLOT)] == [ids[4], ids[1], ids[0]]
    assert not list(registry.folder(SLOT).glob(f"*{ids[2]}*"))
    assert roll_back(registry) == ids[0]


def test_what_is_being_pruned_cannot_go_live_meanwhile(tmp_path: Path) -> None:
    class Meddling(Files):
        """Somebody puts the version live that is about to be removed."""

        def remove(self, path: Path) -> None:
            if ids and path.name == f"manifest_{ids[0]}.json":
                meddler.start()
                meddler.join(0.2)
            super().remove(path)

    registry = Registry(tmp_path / "models", files=Meddling())
    ids: list[str] = []
    ids += adopt(registry, tmp_path, 1, 2)
    refused: list[VersionRefused] = []

    def meddle() -> None:
        try:
            deploy(registry, ids[0])
        except VersionRefused as e:
            refused.append(e)

    meddler = threading.Thread(target=meddle)
    assert registry.prune(SLOT, keep=1) == (ids[0],)
    meddler.join()
    assert len(refused) == 1
    assert registry.live(SLOT) is None


class Unplugged(BaseException):
    """The power went: nothing may happen after this."""


class FailingFiles(Files):
    """Stops the world before the n-th operation, or halfway through it."""

    def __init__(self, after: int, *, torn: bool = False, links: bool = True) -> None:
        self.left, self.torn, self.links = after, torn, links

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unplugged

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        if self.left == 0 and self.torn:
            path.write_bytes(content[: len(content) // 2])
        self._step()
        super().write(path, content, mode)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def hard_link(self, source: Path, target: Path) -> None:
        if not self.links:
            raise PermissionError(1, os.strerror(1))
        self._step()
        super().hard_link(source, target)

    def make_folder(self, path: Path) -> None:
        self._step()
        super().make_folder(path)

    def remove(self, path: Path) -> None:
        if self.left == 0 and self.torn and path.is_dir():
            for file in sorted(path.iterdir())[:2]:
                file.unlink()
        self._step()
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self._step()
        super().sync_folder(path)


def deploy_two(registry: Registry, two: str) -> None:
    deploy(registry, two)


def promote_two(registry: Registry, two: str) -> None:
    deploy(registry, two, promoted_by="alice")


def roll_back_to_nothing_newer(registry: Registry, _two: str) -> None:
    roll_back(registry)


def every_backup_is_whole(registry: Registry) -> None:
    for backup in (registry.folder(SLOT) / "backup").glob("[0-9]*"):
        document = json.loads((backup / LATEST).read_text())
        for name, digest in document["sha256"].items():
            assert hashlib.sha256((backup / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("how", [{}, {"torn": True}, {"torn": True, "links": False}])
@pytest.mark.parametrize("change", [deploy_two, promote_two, roll_back_to_nothing_newer])
def test_whatever_operation_the_power_fails_at_the_pointer_is_the_old_or_the_new_one(
    tmp_path: Path, change: Callable[[Registry, str], None], how: dict[str, bool]
) -> None:
    calm = Registry(tmp_path / "models")
    zero, one, two = adopt(calm, tmp_path, 0, 1, 2)
    deploy(calm, zero)
    deploy(calm, one)
    new = zero if change is roll_back_to_nothing_newer else two
    for after in itertools.count():
        root = tmp_path / str(after)
        shutil.copytree(tmp_path / "models", root)
        calm = Registry(root)
        try:
            change(Registry(root, files=FailingFiles(after, **how)), two)
        except Unplugged:
            survived = False
        else:
            survived = True
        live = live_id(calm)
        assert live in ({new} if survived else {one, new}), f"after {after} operations"
        assert live is not None
        calm.verify(SLOT, live)
        every_backup_is_whole(calm)
        deploy(calm, two)  # and nothing is in the way of the next one
        assert live_id(calm) == two
        every_backup_is_whole(calm)
        if survived:
            assert after > 8, "the operations were not counted"
            return


def test_whatever_operation_the_power_fails_at_a_new_signature_is_there_or_the_old_one(
    tmp_path: Path,
) -> None:
    for name in ("old", "new"):
        generate(tmp_path / f"{name}.key", tmp_path / f"{name}.pub")
    old, new = (Signer.load(tmp_path / f"{name}.key") for name in ("old", "new"))
    ring = KeyRing.load([tmp_path / "old.pub", tmp_path / "new.pub"])
    calm = Registry(tmp_path / "models", old)
    (one,) = adopt(calm, tmp_path, 1)
    deploy(calm, one)
    for after in itertools.count():
        root = tmp_path / str(after)
        shutil.copytree(tmp_path / "models", root)
        files = FailingFiles(after, torn=True)
        with contextlib.suppress(Unplugged):
            Registry(root, new, files, ring=ring).renew(SLOT)
        calm = Registry(root, new, ring=ring)
        signed = ring.signer_of(json.loads(calm.pointer(SLOT).read_text()))
        assert signed in {"old", "new"}
        renewed = calm.renew(SLOT)
        assert renewed is not None
        assert ring.signer_of(renewed.document) == "new"
        if files.left >= 0:
            assert after > 3, "the operations were not counted"
            return


@pytest.mark.parametrize("torn", [False, True])
def test_whatever_operation_the_power_fails_at_pruning_leaves_only_whole_versions_and_the_way_back(
    tmp_path: Path, torn: bool
) -> None:
    calm = Registry(tmp_path / "models")
    ids = adopt(calm, tmp_path, 0, 1, 2, 3, 4)
    for number in (0, 1, 2):
        deploy(calm, ids[number])
    for after in itertools.count():
        root = tmp_path / str(after)
        shutil.copytree(tmp_path / "models", root)
        calm, files = Registry(root), FailingFiles(after, torn=torn)
        with contextlib.suppress(Unplugged):
            Registry(root, files=files).prune(SLOT, keep=1)
        listed = [info.model_id for info in calm.versions(SLOT)]
        for model_id in listed:
            calm.verify(SLOT, model_id)
        assert {ids[1], ids[2], ids[4]} <= set(listed)
        assert live_id(calm) == ids[2]
        every_backup_is_whole(calm)
        calm.prune(SLOT, keep=1)
        assert len(list((calm.folder(SLOT) / "backup").iterdir())) == 1
        left = {path.name for path in calm.folder(SLOT).glob("*_*")}
        assert len(left) == 3 * 7, "what the first one left lying is gone"
        assert roll_back(calm) == ids[1]
        if files.left >= 0:
            assert after > 8, "the operations were not counted"
            return


def test_the_newest_version_that_passed_its_gates_outlives_pruning_when_none_of_them_is_live(
    registry: Registry, tmp_path: Path
) -> None:
    refused = certificate(refused=("direction",))
    good, other = adopt(registry, tmp_path, 1, 2)
    bad, worse = adopt(registry, tmp_path, 3, 4, meta=refused)
    adopt(registry, tmp_path, 5, 6)
    for model_id in (other, good):
        deploy(registry, model_id)
    for model_id in (bad, worse):
        deploy(registry, model_id, promoted_by="alice")
    registry.prune(SLOT, keep=1)
    kept = [info.model_id for info in registry.versions(SLOT)]
    assert kept[1:] == [worse, bad, good], "live, previous, last good"


@pytest.mark.parametrize("links", [True, False])
def test_a_power_failure_while_adopting_leaves_no_version_or_a_whole_one(
    tmp_path: Path, links: bool
) -> None:
    manifest = write_version(tmp_path / "candidate", 1)
    for after in itertools.count():
        root = tmp_path / str(after)
        try:
            files = FailingFiles(after, torn=True, links=links)
            Registry(root, files=files).adopt(SLOT, manifest)
        except Unplugged:
            survived = False
        else:
            survived = True
        calm = Registry(root)
        for info in calm.versions(SLOT):
            calm.verify(SLOT, info.model_id)
        (again,) = [calm.adopt(SLOT, manifest)]
        deploy(calm, again)
        if survived:
            return


def test_a_folder_that_cannot_be_written_leaves_the_live_version_alone(
    registry: Registry, tmp_path: Path
) -> None:
    class FullDisk(Files):
        def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
            raise OSError(28, os.strerror(28))

    one, two = adopt(registry, tmp_path, 1, 2)
    deploy(registry, one)
    full = Registry(tmp_path / "models", files=FullDisk())
    with pytest.raises(OSError, match="No space"):
        deploy(full, two)
    assert live_id(registry) == one


def test_a_manifest_that_names_a_path_outside_its_folder_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    manifest = write_version(tmp_path / "c", 1)
    document = json.loads(manifest.read_text())
    rewrite(manifest, sha256={**document["sha256"], "../../etc/passwd": "0"})
    with pytest.raises(VersionRefused, match="plain file name"):
        registry.adopt(SLOT, manifest)


def test_what_an_operator_left_is_gone_back_to_only_where_nothing_else_is_whole(
    registry: Registry, tmp_path: Path
) -> None:
    one, two, three = adopt(registry, tmp_path, 1, 2, 3)
    for model_id in (one, two, three):
        deploy(registry, model_id)
    registry.rollback(SLOT, one, reason="a wish", by="alice", at_ms=NOW, by_hand=True)
    assert registry.left_by_hand(SLOT) == (three, two)
    assert registry.way_back(SLOT, one, at_last=True).model_id == one
    next(registry.folder(SLOT).glob(f"meta_classifier_{one}*")).unlink()
    with pytest.raises(VersionRefused, match="nothing to roll back to"):
        registry.way_back(SLOT, one)
    assert registry.way_back(SLOT, one, at_last=True).model_id == three


def test_what_was_left_because_of_evidence_is_never_gone_back_to(
    registry: Registry, tmp_path: Path
) -> None:
    one, two = adopt(registry, tmp_path, 1, 2)
    deploy(registry, one)
    deploy(registry, two)
    registry.rollback(SLOT, reason="a wish", by="alice", at_ms=NOW, by_hand=True)
    deploy(registry, two)
    assert registry.left_by_hand(SLOT) == ()  # it is trusted again
    registry.rollback(SLOT, reason="worse", by="hyperdrift", at_ms=NOW)
    assert registry.left_by_hand(SLOT) == ()
    next(registry.folder(SLOT).glob(f"meta_classifier_{one}*")).unlink()
    with pytest.raises(VersionRefused, match="nothing to roll back to"):
        registry.way_back(SLOT, one, at_last=True)


class Flipping:
    """Flips a manifest between what was signed and a forgery of it, as fast as it can."""

    def __init__(self, path: Path) -> None:
        self._path, genuine = path, path.read_bytes()
        forged = json.loads(genuine)
        forged["signal_threshold"] = {"up": 0.01, "down": 0.01}
        self._contents = itertools.cycle([json.dumps(forged).encode(), genuine])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.flips = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        aside = self._path.with_name("aside")
        while not self._stop.is_set() or self.flips < 1000:
            aside.write_bytes(next(self._contents))
            aside.replace(self._path)
            self.flips += 1


def test_of_a_manifest_that_is_swapped_while_it_is_checked_only_what_was_signed_is_loaded(
    tmp_path: Path,
) -> None:
    generate(tmp_path / "key.pem", tmp_path / "key.pub")
    signer = Signer.load(tmp_path / "key.pem")
    signed = Registry(tmp_path / "models", signer, ring=KeyRing.load([tmp_path / "key.pub"]))
    (one,) = adopt(signed, tmp_path, 1)
    loaded, refused = 0, 0
    with Flipping(signed.manifest_path(SLOT, one)) as flipping:
        while flipping.flips < 1000 or not (loaded and refused):
            try:
                assert signed.load(SLOT, one).up == 0.4
                loaded += 1
            except VersionRefused:
                refused += 1


def test_a_link_beside_a_candidate_is_not_followed(registry: Registry, tmp_path: Path) -> None:
    manifest = write_version(tmp_path / "candidate", 1, portable=True)
    secret = tmp_path / "key"
    secret.write_text("secret")
    name = f"notes_{json.loads(manifest.read_text())['model_id']}.txt"
    (manifest.parent / name).symlink_to(secret)
    registry.adopt(SLOT, manifest)
    assert not (registry.folder(SLOT) / name).exists()
