"""A store remembers whose bars it holds, and takes no other venue's by accident."""

from pathlib import Path

import pytest

from daemon.config.schema import HyperliquidSection
from daemon.store import migrations
from daemon.store.properties import record_venue, require_venue, venue_of
from daemon.store.store import Store
from hyperdrift.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bars.db"


def test_a_new_store_takes_any_venue_and_after_it_that_one_only(path: Path) -> None:
    with Store(path) as store:
        require_venue(store, "mainnet", path.parent)
        assert venue_of(store) is None  # asking is no use
        record_venue(store, "mainnet")
    with Store(path) as store:
        require_venue(store, "mainnet", path.parent)
        with pytest.raises(ConfigError, match=r"bars of mainnet, .* names testnet") as refused:
            require_venue(store, "testnet", path.parent)
    assert "set another daemon.data_dir" in str(refused.value)
    assert "`hyperdrift bars venue --adopt`" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_port_of_this_machine_is_refused_once_something_answers_there(path: Path) -> None:
    with Store(path) as store:
        record_venue(store, "127.0.0.1:8765")
        require_venue(store, "127.0.0.1:9", path.parent, any_port=True)
        for venue, any_port in (("127.0.0.1:9", False), ("venue.lan:9", True), ("mainnet", True)):
            with pytest.raises(ConfigError):
                require_venue(store, venue, path.parent, any_port=any_port)


def test_a_store_of_the_schema_before_has_no_venue_also_when_it_is_only_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("daemon.store.database.MIGRATIONS", migrations.MIGRATIONS[:5])
        older.setattr("daemon.store.database.SCHEMA", 5)
        Store(path).close()
    with Store(path, read_only=True) as store:
        require_venue(store, "testnet", path.parent)
    with Store(path) as store:
        require_venue(store, "testnet", path.parent)
        record_venue(store, "testnet")
        assert venue_of(store) == "testnet"
    assert path.with_name("bars.db.v5").exists()


@pytest.mark.parametrize(
    ("settings", "venue"),
    [
        ({}, "mainnet"),
        ({"network": "testnet"}, "testnet"),
        ({"rest_url": "https://API.hyperliquid.xyz.:443/info/"}, "mainnet"),
        ({"network": "testnet", "rest_url": "https://api.hyperliquid.xyz"}, "mainnet"),
        ({"rest_url": "https://api.hyperliquid-testnet.xyz/"}, "testnet"),
        ({"rest_url": "http://localhost:8765"}, "127.0.0.1:8765"),
        ({"rest_url": "http://127.0.0.1:8765/info"}, "127.0.0.1:8765"),
        ({"rest_url": "http://venue.lan:80"}, "venue.lan"),
        ({"rest_url": "https://user:secret@proxy.lan/Hyper/info"}, "proxy.lan/Hyper"),
        ({"rest_url": "http://[::1]:8765"}, "[::1]:8765"),
    ],
)
def test_one_venue_has_one_name_however_its_address_is_written(
    settings: dict[str, str], venue: str
) -> None:
    assert HyperliquidSection(**settings).venue == venue  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rest_url", "stream"),
    [
        ("", "wss://api.hyperliquid.xyz/ws"),
        ("https://api.hyperliquid-testnet.xyz", "wss://api.hyperliquid-testnet.xyz/ws"),
        ("http://127.0.0.1:8765/info", "ws://127.0.0.1:8765/ws"),
    ],
)
def test_the_stream_is_of_the_venue_that_rest_asks(rest_url: str, stream: str) -> None:
    assert HyperliquidSection(rest_url=rest_url).urls[1] == stream
