import os
import stat
from pathlib import Path

import pytest

from daemon.mqtt.broker_refusals import BrokerRefusals
from daemon.mqtt.passwords import own_passwords, password_path
from tests.captured import capture_logs

OTHER_GROUP = 1


def rights(path: Path) -> tuple[str, int]:
    found = path.stat()
    return oct(stat.S_IMODE(found.st_mode)), found.st_gid


def test_they_are_made_once_and_for_one_person_alone(tmp_path: Path) -> None:
    first = own_passwords(tmp_path)
    assert own_passwords(tmp_path) == first
    assert set(first) == {"bot", "operator"}
    assert len(set(first.values())) == 2
    assert min(map(len, first.values())) >= 43  # 256 bits
    assert {rights(password_path(tmp_path, user))[0] for user in first} == {"0o600"}
    assert rights(tmp_path / "mqtt")[0] == "0o700"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another group")
def test_in_a_folder_of_a_group_that_group_may_read(tmp_path: Path) -> None:
    path = password_path(tmp_path, "bot")
    path.parent.mkdir(parents=True)
    os.chown(path.parent, -1, OTHER_GROUP)
    path.parent.chmod(0o2711)
    for _ in range(2):
        own_passwords(tmp_path)
        assert rights(path) == ("0o640", OTHER_GROUP)
        assert rights(password_path(tmp_path, "operator")) == ("0o600", os.getegid())


def test_an_operator_finds_the_password_of_bots_too(tmp_path: Path) -> None:
    for _ in range(2):
        found = own_passwords(tmp_path)
        copy = password_path(tmp_path, "operator").with_name("bot")
        assert (copy.read_text().strip(), rights(copy)[0]) == (found["bot"], "0o600")
        password_path(tmp_path, "bot").write_text("changed\n")


def test_a_password_that_was_lost_is_made_again_and_one_that_was_put_there_stays(
    tmp_path: Path,
) -> None:
    own_passwords(tmp_path)
    password_path(tmp_path, "operator").unlink()
    password_path(tmp_path, "bot").write_text("mine\n")
    found = own_passwords(tmp_path)
    assert found["bot"] == "mine"
    assert password_path(tmp_path, "operator").read_text() == found["operator"] + "\n"


def test_what_is_refused_is_logged_each_time_and_one_alert_of_each_kind() -> None:
    said: list[str] = []
    refusals = BrokerRefusals(Path("/data"))
    with capture_logs() as logs:
        refusals.take("login", "", 1)
        refusals.alert_by(said.append)
        refusals.take("login", "mallory", 7)
        refusals.take("denied", "bot to hyperdrift/BTC-5m/command", 1)
        refusals.take("queue", "bot", 1)
    assert [(entry["kind"], entry["count"]) for entry in logs] == [
        ("login", 1),
        ("login", 7),
        ("denied", 1),
        ("queue", 1),
    ]
    assert len(said) == 2
    assert "a client without a password was refused; if it is a bot of yours" in said[0]
    assert "the password in /data/mqtt/bot/password" in said[0]
    assert "bot to hyperdrift/BTC-5m/command" in said[1]
