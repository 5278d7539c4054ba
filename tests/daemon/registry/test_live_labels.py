from pathlib import Path
from typing import Any

import pytest

from daemon.config.schema import SlotSection
from daemon.registry.live_labels import LiveLabels
from hyperdrift.version_files import read_manifest
from tests.daemon.versions import certificate, write_version


def live(folder: Path, value: float | str, **settings: Any) -> LiveLabels:
    meta = certificate() | {"settings": settings}
    path = write_version(folder, meta=meta, threshold=value)
    return LiveLabels.of(read_manifest(path), folder)


def section(threshold: float | str | None = None, horizon: int | None = None) -> SlotSection:
    return SlotSection(coin="BTC", threshold=threshold, horizon_bars=horizon)


def test_what_a_setting_chose_is_known_to_the_next_retrain_with_that_setting(
    tmp_path: Path,
) -> None:
    chosen = live(tmp_path, 0.0075, labels="as told", threshold="auto")
    assert chosen.chosen_by("auto") == 0.0075
    assert chosen.chosen_by("default:0.005") is None
    assert chosen.told(section("auto")) == "as told"


def test_what_a_person_wrote_is_not_kept_once_it_is_gone(tmp_path: Path) -> None:
    written = live(tmp_path, 0.01, labels="as told", threshold=0.01)
    assert written.chosen_by(section().label_threshold) is None
    assert written.told(section(0.01)) == "as told"
    changed = "as told; the configuration has changed, the next retrain follows it"
    assert written.told(section()) == changed
    assert written.told(section(0.01, horizon=24)) == changed


@pytest.mark.parametrize("settings", [{}, {"threshold": 0.005}])
def test_a_version_of_before_followed_the_default_by_its_number(
    tmp_path: Path, settings: dict[str, float]
) -> None:
    older = live(tmp_path, 0.005, **settings)
    assert older.told(section()) == "12 bars ahead, threshold 0.005"
    assert "has changed" in older.told(section("auto"))


def test_a_version_whose_certificate_cannot_be_read_tells_what_its_manifest_says(
    tmp_path: Path,
) -> None:
    manifest = read_manifest(write_version(tmp_path, threshold="vol:0.8"))
    (tmp_path / manifest.training_meta).write_text("{")
    found = LiveLabels.of(manifest, tmp_path)
    assert found.told(None) == "12 bars ahead, threshold vol:0.8"
    assert found.chosen_by("vol:0.8") is None
