"""The demo's own files for several coins."""

import tomllib

from daemon.config import loader
from daemon.demo import setup as demo_setup
from daemon.demo.setup import Options, prepare, write_config


def test_the_settings_of_several_coins_are_one_list_and_the_demos_daemon_takes_them() -> None:
    with prepare(Options(coins=2)) as setup:
        write_config(setup, "http://127.0.0.1:1", "ws://127.0.0.1:1")
        document = tomllib.loads(setup.config_path.read_text())
        assert document["slots"][0]["coin"] == ["BTC", "ETH"]
        assert 1 <= document["retrain"]["parallel"] <= 2
        config = loader.load(setup.config_path)
        assert [(slot.coin, slot.interval) for slot in config.slots] == list(setup.slots)
        assert setup.speed == 3 * 300
        assert setup.past_bars == demo_setup.FLEET_HISTORY_BARS
    assert not setup.folder.exists()
