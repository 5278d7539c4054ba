"""Coins, intervals and horizons are crossed; what cannot be meant is said before anything runs."""

import msgspec
import pytest

from daemon.backtest.grid import is_as_configured, planned, stored_bars
from daemon.config.schema import Config, SlotSection
from daemon.core.bars import Bar, Provenance
from daemon.store.data_folder import open_store
from hyperdrift.errors import BadInput, ConfigError
from hyperdrift.slot_name import SlotName
from tests.daemon.backtest.made_up_grid import configured, fill


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("grid")
    fill(folder, "BTC-5m", "BTC-1h", "DOGE-5m", "xyz:TSLA-15m", bars=5)
    with open_store(folder) as store:
        spot = SlotName("PURR/USDC", "5m")
        store.put_bars(spot, [Bar(300_000, 1.0, 1.0, 1.0, 1.0, 1.0)], Provenance.IMPORT)
    own = SlotSection(coin="BTC", horizon_bars=24, threshold=0.01)
    return msgspec.structs.replace(configured(folder), slots=(own, SlotSection(coin="ETH")))


def cells(sections: tuple[SlotSection, ...]) -> list[tuple[str, int]]:
    return [(str(section.name), section.horizon) for section in sections]


def test_every_coin_is_crossed_with_every_interval_and_horizon(config: Config) -> None:
    asked = planned(config, ["BTC", "DOGE", "BTC"], ["5m", "1h"], [6, 12])
    slots = ("BTC-5m", "BTC-1h", "DOGE-5m", "DOGE-1h")
    assert cells(asked) == [(slot, bars) for slot in slots for bars in (6, 12)]
    assert asked[0].threshold == 0.01, "it keeps what the configuration says"
    assert asked[2].threshold is None


def test_without_a_horizon_each_slot_has_its_own(config: Config) -> None:
    asked = planned(config, ["BTC", "DOGE"], ["5m"], [])
    assert cells(asked) == [("BTC-5m", 24), ("DOGE-5m", 12)]
    assert all(is_as_configured(config, section) for section in asked)
    other = planned(config, ["BTC"], ["5m"], [12])
    assert not is_as_configured(config, other[0])


def test_a_star_stands_for_what_is_stored_at_these_intervals_but_no_spot(config: Config) -> None:
    assert cells(planned(config, ["*"], ["5m"], [])) == [("BTC-5m", 24), ("DOGE-5m", 12)]
    assert cells(planned(config, ["*"], ["1h", "24h"], [])) == [("BTC-1h", 4), ("BTC-1d", 1)]
    with pytest.raises(BadInput, match="no bars of 12h are stored: backfill or import some"):
        planned(config, ["*"], ["12h"], [])


def test_a_coin_that_is_neither_configured_nor_stored_is_a_mistake(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"slot BTCC-5m is not configured.* has BTC-5m, ETH-5m"):
        planned(config, ["BTC", "BTCC"], ["5m"], [])
    assert cells(planned(config, ["ETH"], ["5m"], [])) == [("ETH-5m", 12)], "its row says why not"
    with pytest.raises(BadInput, match="interval '7m' is not one of"):
        planned(config, ["BTC"], ["7m"], [])


def test_an_interval_without_a_measured_horizon_needs_one(config: Config) -> None:
    with pytest.raises(ConfigError, match=r"15m has no measured horizon.* add --horizon"):
        planned(config, ["*"], ["15m"], [])
    (section,) = planned(config, ["*"], ["15m"], [8])
    assert (section.horizon, section.label_threshold) == (8, "auto")
    assert not is_as_configured(config, section)


def test_the_stored_bars_of_each_section_are_counted(config: Config) -> None:
    assert stored_bars(config, planned(config, ["BTC", "ETH"], ["5m"], [])) == [5, 0]
