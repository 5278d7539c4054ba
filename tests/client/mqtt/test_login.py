import grp
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperdrift.errors import ConfigError
from hyperdrift.mqtt import login as module
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.login import FileLogin, login

NOBODY = 65534


@pytest.fixture
def listener() -> Iterator[int]:
    """A port of this host that this user listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield int(held.getsockname()[1])


def secret(folder: Path, text: str = "secret") -> Path:
    path = folder / "bot"
    path.write_text(f"{text}\n")
    return path


def test_a_password_of_the_port_s_owner_is_sent_and_read_again_each_time(
    tmp_path: Path, listener: int
) -> None:
    found = FileLogin("bot", [tmp_path / "absent", secret(tmp_path)], listener)
    assert (found.pair(), found.told()) == (("bot", "secret"), ("bot", ""))
    secret(tmp_path, "changed")
    assert found.pair() == ("bot", "changed")


def test_a_file_that_is_not_there_yet_is_said_and_taken_once_it_is(tmp_path: Path) -> None:
    found = FileLogin("bot", [tmp_path / "bot"], None)
    assert found.pair() == (None, None)
    assert found.told() == (None, f"no password is in {tmp_path}/bot")
    secret(tmp_path)
    assert (found.pair(), found.told()) == (("bot", "secret"), ("bot", ""))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_no_password_goes_to_a_port_that_another_user_listens_on(
    tmp_path: Path, listener: int
) -> None:
    os.chown(secret(tmp_path), NOBODY, NOBODY)
    trusts_root = FileLogin("bot", [tmp_path / "bot"], listener)
    assert trusts_root.pair() == ("bot", "secret")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "listeners", lambda _port: {1})
        assert trusts_root.pair() == (None, None)
        said = "user daemon listens there, not the daemon: no password is sent"
        assert trusts_root.told() == (None, said)


@pytest.fixture
def another_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of a group that is not root's, which Alice may not read."""

    def closed(*_arguments: object) -> None:
        raise PermissionError

    path = secret(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, -1, NOBODY)
    monkeypatch.setattr(Path, "open", closed)
    monkeypatch.setenv("LOGNAME", "alice")
    return path


def test_who_may_not_read_the_file_is_told_the_group_to_join(another_users: Path) -> None:
    group = grp.getgrgid(another_users.stat().st_gid).gr_name
    found = FileLogin("bot", [another_users], None)
    assert found.pair() == (None, None)
    join = f"`sudo usermod -aG {group} alice` and log in again"
    said = f"you are not in group {group}, so you may not read {another_users}: {join}"
    assert found.told() == (None, said)


def test_nobody_is_told_to_join_a_group_that_may_not_read_the_file_either(
    another_users: Path,
) -> None:
    another_users.chmod(0o600)
    found = FileLogin("bot", [another_users], None)
    assert found.pair() == (None, None)
    said = f"you may not read {another_users}: give alice the right to read it, or a copy"
    assert found.told() == (None, said)


@pytest.mark.skipif(os.geteuid() != 0, reason="only in a test of root's is such a group root's")
def test_nobody_is_told_to_join_the_group_of_root(another_users: Path) -> None:
    os.chown(another_users, -1, 0)
    found = FileLogin("bot", [another_users], None)
    assert found.pair() == (None, None)
    assert "usermod" not in found.told()[1]


def test_a_copy_that_a_bot_names_is_used_also_where_its_owner_does_not_run_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "listeners", lambda _port: {12345})  # that of user mosquitto
    local, path = BrokerAddress.parse("mqtt://bot@127.0.0.1"), secret(tmp_path)
    assert login(local, None, path).pair() == ("bot", "secret")
    assert FileLogin("bot", [path], local.port).pair() == (None, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_daemons_own_file_is_no_copy_also_if_a_bot_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "listeners", lambda _port: {12345})
    path = secret(tmp_path)
    os.chown(path, NOBODY, NOBODY)
    assert login(BrokerAddress.parse("mqtt://127.0.0.1"), None, path).pair() == (None, None)


@pytest.mark.parametrize(
    ("url", "password", "pair"),
    [
        ("mqtt://127.0.0.1:1883", None, ("bot", "secret")),
        ("mqtt://localhost", None, ("bot", "secret")),
        ("mqtt://127.0.0.1", "given", (None, "given")),
        ("mqtt://me@127.0.0.1", None, ("me", None)),
        ("mqtt://me@127.0.0.1", "given", ("me", "given")),
        ("mqtt://broker.lan", None, (None, None)),
        ("mqtts://localhost", None, (None, None)),
    ],
)
def test_only_a_bot_of_this_host_that_was_told_nothing_takes_the_daemons_file(
    url: str,
    password: str | None,
    pair: tuple[str | None, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "mqtt" / "bot"
    folder.mkdir(parents=True)
    secret(folder).rename(folder / "password")
    monkeypatch.setattr(module, "SERVICE", tmp_path)
    monkeypatch.setattr(module, "listeners", lambda _port: set())
    assert login(BrokerAddress.parse(url), password, None).pair() == pair


def test_a_file_that_is_named_is_taken_anywhere(tmp_path: Path) -> None:
    path = secret(tmp_path)
    for url, user in (("mqtts://broker.lan", "bot"), ("mqtt://me@broker.lan", "me")):
        assert login(BrokerAddress.parse(url), None, path).pair() == (user, "secret")
    with pytest.raises(ConfigError, match="give the password in a file"):
        BrokerAddress.parse("mqtt://me:secret@broker.lan")


def test_who_listens_on_a_port_is_read_from_the_system(listener: int) -> None:
    assert module.listeners(listener) == {os.geteuid()}
    assert module.listeners(1) == set()
