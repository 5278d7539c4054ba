"""The nginx of the how-to leads to the page: signing in, ordering, and following the news."""

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.daemon.web.server.test_listener import certificate
from tests.daemon.web.server.visitors import Place, a_page
from tests.ports import free_port

PAGE = Path(__file__).parents[4] / "docs" / "howto" / "status-page.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")


async def is_open(port: int) -> bool:
    """Return whether somebody listens at a port of this host."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def nginx(place: Place, folder: Path) -> AsyncIterator[str]:
    """Run the server of the how-to before a page; yield its address."""
    assert NGINX is not None
    files, port = certificate(folder), free_port()
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for old, new in (
        ("443", f"127.0.0.1:{port}"),
        ("bots.example.org;", "localhost;"),
        ("/etc/ssl/bots.example.org.crt", files["cert_file"]),
        ("/etc/ssl/private/bots.example.org.key", files["key_file"]),
        ("http://127.0.0.1:8377", place.url.rstrip("/")),
    ):
        assert old in block
        block = block.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}"
    whole = f"{head}\nhttp {{ access_log off; {places}\n{block}}}"
    (folder / "nginx.conf").write_text(whole)
    process = subprocess.Popen((NGINX, "-p", folder, "-c", folder / "nginx.conf"))
    try:
        async with asyncio.timeout(60):
            while not await is_open(port):
                assert process.poll() is None
                await asyncio.sleep(0.02)
        yield f"https://localhost:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_behind_the_nginx_of_the_page_it_works_and_knows_who_asks(tmp_path: Path) -> None:
    async with (
        a_page(tmp_path, proxy=True, names=("bots.example.org",)) as place,
        nginx(place, tmp_path) as url,
        asyncio.timeout(60),
    ):
        trust = ssl.create_default_context(cafile=str(tmp_path / "page.crt"))
        async with aiohttp.ClientSession(
            url, connector=aiohttp.TCPConnector(ssl=trust), headers={"Origin": url}
        ) as browser:
            async with browser.get("/api/v1/overview") as answer:
                assert answer.status == 401
            async with browser.post("/sign-in", data={"token": place.token}) as answer:
                assert (answer.status, answer.url.path) == (200, "/")
            (cookie,) = browser.cookie_jar
            assert cookie["secure"]
            csrf = next(iter(place.site._admission.sessions._open.values())).csrf
            form = {"csrf": csrf, "reason": "r"}
            async with browser.post("/slots/BTC-5m/pause", data=form) as answer:
                assert answer.status == 200
            assert place.commands.taken[0][2] == "web (127.0.0.1)"
            async with browser.get("/live") as answer:
                assert await answer.content.readline() == b"retry: 3000\n"
                while b"event:" not in await answer.content.readline():
                    pass
            headers = {"Origin": "https://evil.example"}
            async with browser.post("/slots/BTC-5m/pause", data=form, headers=headers) as answer:
                assert answer.status == 403
