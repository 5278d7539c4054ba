"""What a retrain may not read: keys and passwords, wherever the configuration has them."""

from pathlib import Path

import pytest

from daemon.config.schema import Config, DaemonSection, MqttSection, RetrainSection, WebSection
from daemon.config.secrets import secret_paths

HERE = DaemonSection(data_dir="/var/lib/hyperdrift")


def test_a_secret_below_the_home_folder_is_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    web = WebSection(cert_file="~/page.crt", key_file="~/page.key")
    mqtt = MqttSection(broker="mqtts://bot@host", password_file="~/password")
    tls = RetrainSection(dask_key_file="~/dask.key")
    hidden = secret_paths(Config(daemon=HERE, web=web, mqtt=mqtt, retrain=tls))
    assert {tmp_path / name for name in ("page.key", "password", "dask.key")} <= {*hidden}
    assert tmp_path / "page.crt" not in hidden


def test_a_certificate_that_has_its_key_in_it_is_a_secret() -> None:
    web, mqtt = WebSection(cert_file="/page.pem"), MqttSection(cert_file="/client.pem")
    hidden = secret_paths(Config(daemon=HERE, web=web, mqtt=mqtt))
    assert {Path("/page.pem"), Path("/client.pem")} <= {*hidden}
