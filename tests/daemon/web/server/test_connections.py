"""Connections are few, and none lasts of which nothing comes."""

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from daemon.web.server import connections
from tests.daemon.web.server.visitors import Place, Visitor, a_page

SLOW_FORM = (
    b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)


async def send(place: Place, *pieces: bytes) -> bytes:
    """Send these one after the other; return what comes until the connection ends."""
    reader, writer = await asyncio.open_connection(*place.config.web.place)
    found = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.03)
        found = await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.close()
    return found


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 20),
        (b"",),
        (SLOW_FORM, b"to"),
    ],
)
async def test_who_sends_too_slowly_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(connections, "FIRST_S", 0.2)
    monkeypatch.setattr("daemon.web.server.visits.REQUEST_S", 0.3)
    async with a_page(tmp_path) as place, asyncio.timeout(60):
        with capture_logs() as lines:
            assert await send(place, *pieces) == b""
        assert lines == []


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
        b"GET /" + b"y" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_page_goes_on(
    tmp_path: Path, head: bytes
) -> None:
    async with a_page(tmp_path) as place, asyncio.timeout(60), Visitor(place) as visitor:
        answer = await send(place, head)
        assert b" 400 " in answer.partition(b"\r\n")[0]
        assert b"Content-Security-Policy" in answer
        async with visitor.get("/healthz") as alive:
            assert alive.status == 200


async def test_of_too_many_connections_the_oldest_goes_that_shows_no_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.Bounds.__init__, "__defaults__", (3,))
    monkeypatch.setattr(connections, "FIRST_S", 600.0)  # none goes for its own silence
    async with a_page(tmp_path) as place, asyncio.timeout(60), Visitor(place) as visitor:
        news = await visitor.get("/live")
        opened = [await asyncio.open_connection(*place.config.web.place) for _ in range(3)]
        with contextlib.suppress(ConnectionError):
            assert await opened[0][0].read() == b""
        async with visitor.get("/healthz") as alive:
            assert alive.status == 200
        assert await news.content.readline() == b"retry: 3000\n"
        news.close()
        for _, writer in opened:
            writer.close()


async def test_where_all_connections_show_news_a_new_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.Bounds.__init__, "__defaults__", (2,))
    async with a_page(tmp_path) as place, asyncio.timeout(60), Visitor(place) as visitor:
        held = [await visitor.get("/live") for _ in range(2)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await visitor.get("/healthz")
        for news in held:
            news.close()
