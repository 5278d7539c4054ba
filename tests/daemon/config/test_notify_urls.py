from pathlib import Path

import pytest

from daemon.config.loader import load
from daemon.config.notify_urls import notify_urls
from daemon.config.schema import Config, DaemonSection, NotifySection
from daemon.config.secrets import secret_paths
from hyperdrift.errors import ConfigError


def test_the_addresses_of_a_file_follow_those_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "urls"
    file.write_bytes(b"\xef\xbb\xbf# my phone\r\n  ntfy://topic \r\n\r\njson://h\n")
    found = notify_urls(NotifySection(urls=("tgram://a/b",), urls_file=str(file)))
    assert found == ("tgram://a/b", "ntfy://topic", "json://h")


def test_the_credential_of_the_service_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert notify_urls(NotifySection()) == ()
    (tmp_path / "notify-urls").write_text("ntfy://topic\n")
    assert notify_urls(NotifySection()) == ("ntfy://topic",)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    gone, binary = tmp_path / "gone", tmp_path / "binary"
    binary.write_bytes(b"tgram://\xff\xfesecret")
    with pytest.raises(ConfigError, match="cannot be read"):
        notify_urls(NotifySection(urls_file=str(gone)))
    with pytest.raises(ConfigError, match="is not UTF-8") as caught:
        notify_urls(NotifySection(urls_file=str(binary)))
    assert "secret" not in str(caught.value)


def test_a_wrong_kind_of_value_is_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "hyperdrift.toml"
    for value in ('"tgram://secret"', "[12345]", '[["tgram://secret"]]'):
        file.write_text(f"[notify]\nurls = {value}\n")
        with pytest.raises(ConfigError, match=r"notify\.urls.* write") as caught:
            load(file, {})
        assert "secret" not in str(caught.value)
        assert "12345" not in str(caught.value)


def test_a_retrain_cannot_read_the_file_of_addresses(tmp_path: Path) -> None:
    config = Config(
        daemon=DaemonSection(data_dir=str(tmp_path)), notify=NotifySection(urls_file="/etc/urls")
    )
    assert Path("/etc/urls") in secret_paths(config)
