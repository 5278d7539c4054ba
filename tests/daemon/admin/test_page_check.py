"""A person is told where the page is, who may read it, and why it cannot be reached."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from daemon.admin import page_check
from daemon.config.schema import Config, DaemonSection, WebSection
from hyperdrift.errors import ConfigError
from tests.daemon.web.server.test_listener import certificate
from tests.daemon.web.server.visitors import a_page
from tests.ports import free_port


def configured(folder: Path, listen: str) -> Config:
    return Config(daemon=DaemonSection(data_dir=str(folder)), web=WebSection(listen=listen))


async def test_a_page_that_answers_is_well(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place:
        check = await asyncio.to_thread(page_check.page, place.config)
    assert check.problem == ""
    assert check.note == f"{place.url}, everybody on this host may read"


async def test_a_page_with_tls_that_answers_is_well(tmp_path: Path) -> None:
    listen = f"0.0.0.0:{free_port()}"
    async with a_page(tmp_path, listen=listen, **certificate(tmp_path)) as place:
        check = await asyncio.to_thread(page_check.page, place.config)
    assert check.problem == ""
    assert check.note.endswith("the token's owner may read")


def test_without_a_daemon_the_page_is_no_fault_and_another_program_at_its_port_is(
    tmp_path: Path,
) -> None:
    assert page_check.page(configured(tmp_path, "")).note == "switched off"
    config = configured(tmp_path, f"127.0.0.1:{free_port()}")
    assert page_check.page(config).note.endswith("comes with the daemon")


async def test_another_program_that_speaks_http_is_not_taken_for_the_page(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        listen = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        check = await asyncio.to_thread(page_check.page, configured(tmp_path, listen))
    assert check.problem.startswith("another program has port")


def test_the_token_is_made_where_there_is_none_and_replaced_on_demand(tmp_path: Path) -> None:
    config = configured(tmp_path, "127.0.0.1:8377")
    with pytest.raises(ConfigError, match="the first start of the daemon makes it"):
        page_check.token(config)
    with pytest.raises(ConfigError, match="the first start of the daemon makes it"):
        page_check.token(config, new=True)
    (tmp_path / "web").mkdir()
    first = page_check.token(config)
    assert len(first) > 40
    assert page_check.token(config) == first
    assert page_check.token(config, new=True) != first
    with pytest.raises(ConfigError, match=r"web\.listen is empty"):
        page_check.token(configured(tmp_path, ""))


def test_a_stranger_at_the_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_check, "listeners", lambda _port: {0, 65534})
    config = configured(tmp_path, "127.0.0.1:8377")
    assert page_check.stranger(config) == "user nobody has port 8377"
    assert "stop it, or write another web.listen" in page_check.page(config).problem


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_token_that_root_makes_is_the_daemons(tmp_path: Path) -> None:
    config, folder = configured(tmp_path, "127.0.0.1:8377"), tmp_path / "web"
    folder.mkdir()
    os.chown(folder, os.geteuid(), 65534)
    page_check.token(config, new=True)
    found = (folder / "token").stat()
    assert (found.st_uid, found.st_gid) == (os.geteuid(), 65534)
    with tempfile.TemporaryDirectory() as other:
        for each in (Path(other), Path(other, "web")):
            each.mkdir(exist_ok=True)
            os.chown(each, 65534, 65534)
        page_check.token(configured(Path(other), "127.0.0.1:8377"), new=True)
        found = Path(other, "web", "token").stat()
        assert (found.st_uid, found.st_gid) == (65534, 65534)
    assert (os.geteuid(), os.getegid()) == (0, 0)
