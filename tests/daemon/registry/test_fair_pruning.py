"""Of all slots, the one that takes most gives up its oldest versions first."""

from pathlib import Path

from daemon.registry.fair_pruning import LEAST_VERSIONS, prune_all
from daemon.registry.registry import Registry
from hyperdrift.slot_name import SlotName
from tests.daemon.versions import write_version

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")


def filled(folder: Path, versions: dict[SlotName, int]) -> tuple[Registry, Path]:
    registry = Registry(folder / "models")
    for slot, count in versions.items():
        for n in range(count):
            made = write_version(folder / f"{slot}{n}", n, slot=str(slot))
            registry.adopt(slot, made)
            if n < 2:  # the oldest are the live one and the one before it
                model_id = made.stem.removeprefix("manifest_")
                registry.deploy(slot, model_id, reason="r", by="b", at_ms=10**12 + n)
    return registry, folder / "models"


def size(folder: Path) -> int:
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({one.st_ino: one.st_size for one in files}.values())


def test_the_slot_with_most_gives_up_first_and_no_more_than_needed(tmp_path: Path) -> None:
    registry, models = filled(tmp_path, {BTC: 9, ETH: 5})
    assert prune_all(registry, models, size(models)) == {}
    each = size(models / str(ETH)) / 5
    gone = prune_all(registry, models, int(size(models) - 2.5 * each))
    assert {slot: len(ids) for slot, ids in gone.items()} == {BTC: 3}
    kept = registry.versions(BTC)
    assert [one.model_id for one in kept if one.live or one.previous]  # though they are oldest
    assert min(gone[BTC]) > min(one.model_id for one in kept if one.live)


def test_the_newest_and_what_may_be_needed_stay_whatever_the_limit(tmp_path: Path) -> None:
    registry, models = filled(tmp_path, {BTC: 7, ETH: 2})
    prune_all(registry, models, 0)
    kept = registry.versions(BTC)
    assert len(kept) == LEAST_VERSIONS + 2
    assert {one.live for one in kept} == {one.previous for one in kept} == {True, False}
    assert len(registry.versions(ETH)) == 2


def test_a_folder_that_a_person_put_there_stops_nothing(tmp_path: Path) -> None:
    registry, models = filled(tmp_path, {BTC: 6})
    (models / "BTC-5m-old").mkdir()
    (models / "BTC-5m-old" / "notes").write_text("x")
    assert len(prune_all(registry, models, 1)[BTC]) == 1
    assert (models / "BTC-5m-old" / "notes").exists()


def test_a_file_that_goes_away_meanwhile_stops_nothing(tmp_path: Path) -> None:
    registry, models = filled(tmp_path, {BTC: 1})
    (models / str(BTC) / "going").symlink_to("gone")  # listed, but not to be looked at any more
    assert prune_all(registry, models) == {}
