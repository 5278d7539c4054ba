"""The service manager is told by datagram, and nothing waits for it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.service.systemd_notify import SystemdNotifier

ABSTRACT = f"hyperdrift-test-{os.getpid()}"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(tmp_path / "notify")
    name, bound = (path, path) if request.param == "path" else (f"@{ABSTRACT}", f"\0{ABSTRACT}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(bound)
        listening.settimeout(5)
        yield name, listening


def test_each_sentence_arrives_at_either_kind_of_address(
    manager: tuple[str, socket.socket],
) -> None:
    name, listening = manager
    supervisor = SystemdNotifier({"NOTIFY_SOCKET": name})
    supervisor.starting(1.5)
    supervisor.ready()
    supervisor.alive()
    supervisor.status("BTC-5m: serving,\nmodel 3 h old")
    supervisor.stopping()
    assert [listening.recv(4096).decode() for _ in range(5)] == [
        "EXTEND_TIMEOUT_USEC=1500000",
        "READY=1",
        "WATCHDOG=1",
        "STATUS=BTC-5m: serving, model 3 h old",
        "STOPPING=1",
    ]


def test_without_a_manager_nothing_is_said_and_nothing_fails() -> None:
    supervisor = SystemdNotifier({})
    supervisor.ready()
    assert not supervisor.is_there
    assert supervisor.watchdog_s is None


def test_a_manager_that_is_gone_or_does_not_read_holds_nothing_up(tmp_path: Path) -> None:
    SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        supervisor = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "deaf")})
        for _ in range(10_000):  # more than its queue holds
            supervisor.alive()
        assert deaf.recv(16) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("pid", "seconds"),
    [(None, 90.0), (str(os.getpid()), 90.0), ("1", None)],
    ids=["nobody's", "ours", "another's"],
)
def test_the_watchdogs_patience_is_read_where_it_is_meant_for_us(
    pid: str | None, seconds: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "90000000"}
    supervisor = SystemdNotifier(environ if pid is None else environ | {"WATCHDOG_PID": pid})
    assert supervisor.watchdog_s == seconds
