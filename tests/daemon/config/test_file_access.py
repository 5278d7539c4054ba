"""Files that the configuration names are looked for as the daemon's user, before their time."""

import os
from pathlib import Path

import pytest

from daemon.config.file_access import unreachable
from daemon.config.schema import (
    Config,
    DaemonSection,
    FeaturesSection,
    RetrainSection,
    SwapSection,
    TradesSection,
    WebSection,
)

SOMEBODY = 65534
PUT = "put it there, or change the key"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for somebody else")


def test_what_is_not_there_is_named_with_its_key_but_trades_may_come_later(tmp_path: Path) -> None:
    config = Config(
        retrain=RetrainSection(python=str(tmp_path / "python")),
        features=FeaturesSection(cohort_file=str(tmp_path / "cohorts.csv")),
        trades=TradesSection(file=str(tmp_path / "trades.csv")),
    )
    assert unreachable(config) == [
        f"features.cohort_file: {tmp_path}/cohorts.csv is not there: {PUT}",
        f"retrain.python: {tmp_path}/python is not there: {PUT}",
    ]


def test_files_below_the_home_folder_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    web = WebSection(cert_file="~/page.crt", key_file="~/page.key")
    assert unreachable(Config(web=web)) == [
        f"web.cert_file: {tmp_path}/page.crt is not there: {PUT}",
        f"web.key_file: {tmp_path}/page.key is not there: {PUT}",
    ]
    for name in ("page.crt", "page.key"):
        (tmp_path / name).touch()
    assert unreachable(Config(web=web)) == []


def test_a_program_is_looked_for_where_the_shell_would() -> None:
    def said(python: str, *command: str) -> list[str]:
        section = RetrainSection(python=python)
        return unreachable(Config(retrain=section, swap=SwapSection(on_deploy=command)))

    assert said("sh", "sh", "-c", "true") == []
    assert said("pyton3", "sytemctl", "restart", "bot") == [
        f"retrain.python: pyton3 is not there: {PUT}",
        f"swap.on_deploy: sytemctl is not there: {PUT}",
    ]
    assert said("", "/opt/bot/restart") == [f"swap.on_deploy: /opt/bot/restart is not there: {PUT}"]


@ROOT_ONLY
def test_what_another_user_may_not_use_is_found_by_root(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    trades, file = tmp_path / "trades.csv", tmp_path / "hyperdrift.toml"
    trades.touch(mode=0o640)
    file.touch(mode=0o600)
    here = DaemonSection(data_dir=str(tmp_path / "data"))
    config = Config(daemon=here, trades=TradesSection(file=str(trades)))
    assert unreachable(config, 0, file) == []
    mine, theirs = unreachable(config, SOMEBODY, file)
    assert mine.startswith(f"trades.file: the daemon's user may not use {trades}: change its")
    assert theirs.endswith(f"may not read {file}: `chgrp hyperdrift {file}; chmod 640 {file}`")
    trades.chmod(0o644)
    file.chmod(0o644)
    assert unreachable(config, SOMEBODY, file) == []


def test_what_a_service_is_not_shown_is_named_before_it_is_missed() -> None:
    there = RetrainSection(python="/home/me/bot/bin/python")
    service = Config(daemon=DaemonSection(data_dir="/var/lib/hyperdrift"), retrain=there)
    (said,) = unreachable(service, os.geteuid())
    assert said.startswith("retrain.python: a service sees nothing of /home: put /home/me/bot")
