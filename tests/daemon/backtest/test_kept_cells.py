"""A finished cell is found again only for the same bars and settings, and only if it is whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from daemon.backtest.candidate_cache import forget_old
from daemon.backtest.kept_cells import CellContent, KeptCells
from daemon.backtest.market_replay import Market
from daemon.backtest.performance import Performance, Track
from daemon.backtest.policy_run import PolicyRecord
from daemon.config.schema import Config
from monitor.actions import Publish
from monitor.policy import PolicySettings
from retrain.deciding.earning import SignalEarning
from tests.daemon.backtest.made_up_grid import configured

SETTINGS = PolicySettings()
TRACK = Track(np.array([np.nan, 0.4]), np.array([0.005, 0.006]), np.array([0.0, -0.01]))


def market(config: Config, close: float = 100.0) -> Market:
    frame = {"t": np.arange(2), "close": np.array([99.0, close])}
    return Market(config.slots[0].name, frame, np.zeros((2, 17)))


def cells(root: Path, config: Config, first: int = 1, **of: Any) -> KeptCells:
    section = msgspec.structs.replace(config.slots[0], horizon_bars=of.pop("horizon", 12))
    return KeptCells(root, config, section, market(config, **of), first)


def content() -> CellContent:
    drift = Publish(slot="BTC-5m", at_ms=7, kind="drift", text="it moved", fields={"of": ["rv_1h"]})
    record = PolicyRecord([drift], [{"at_ms": 7, "passed": True}], 2.5)
    earned = SignalEarning(3, 2, -1.5, -4.0, 1.0)
    figures = Performance(400, 0.61, 0.02, None, 3, 1 / 3, -0.01, 0.02, 0.03, earned)
    return CellContent(record, figures, 0.25)


def test_what_was_kept_is_found_as_it_was(tmp_path: Path) -> None:
    config = configured(tmp_path, "BTC")
    path = cells(tmp_path, config).keep("drift", SETTINGS, content(), TRACK)
    found = cells(tmp_path, config).find("drift", SETTINGS)
    assert found is not None
    assert (found.content, found.path) == (content(), path)
    for name in ("loss", "limit", "net"):
        assert np.array_equal(getattr(found.track, name), getattr(TRACK, name), equal_nan=True)


def test_other_bars_settings_or_labels_are_another_cell(tmp_path: Path) -> None:
    config = configured(tmp_path, "BTC")
    cells(tmp_path, config).keep("drift", SETTINGS, content(), TRACK)
    wild = msgspec.structs.replace(config, gates={"overfit": 0.5})
    others = (
        cells(tmp_path, config, close=101.0),
        cells(tmp_path, config, horizon=24),
        cells(tmp_path, config, first=0),
        cells(tmp_path, wild),
    )
    assert [one.find("drift", SETTINGS) for one in others] == [None] * 4
    assert cells(tmp_path, config).find("never", SETTINGS) is None
    assert cells(tmp_path, config).find("drift", replace(SETTINGS, cooldown_hours=1)) is None


@pytest.mark.parametrize("name", ["cell.json", "track.npz"])
@pytest.mark.parametrize("left", [0, 40])
def test_a_cell_that_is_not_whole_is_run_again(tmp_path: Path, name: str, left: int) -> None:
    config = configured(tmp_path, "BTC")
    path = cells(tmp_path, config).keep("drift", SETTINGS, content(), TRACK)
    file = path.with_name(name)
    file.write_bytes(file.read_bytes()[:left])
    assert cells(tmp_path, config).find("drift", SETTINGS) is None


def test_cells_that_no_backtest_asks_for_go_with_the_candidates(tmp_path: Path) -> None:
    config = configured(tmp_path, "BTC")
    path = cells(tmp_path, config).keep("drift", SETTINGS, content(), TRACK)
    assert forget_old(tmp_path, path.stat().st_mtime - 1) == 0
    assert forget_old(tmp_path, path.stat().st_mtime + 1) == 1
    assert not path.exists()
