"""The page listens where it is told to; a port that is taken is a trouble of the page alone."""

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from daemon.config.schema import WebSection
from daemon.web.server import connections, listener
from daemon.web.server.listener import server_context
from hyperdrift.errors import ConfigError
from tests.daemon.web.server.visitors import Visitor, a_page
from tests.ports import free_port


def certificate(folder: Path) -> dict[str, Any]:
    """Make a certificate for this host that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    (folder / "page.crt").write_bytes(made.public_bytes(encoding))
    (folder / "page.key").write_bytes(key.private_bytes(encoding, form, plain))
    locked = serialization.BestAvailableEncryption(b"secret")
    (folder / "locked.key").write_bytes(key.private_bytes(encoding, form, locked))
    return {"cert_file": str(folder / "page.crt"), "key_file": str(folder / "page.key")}


async def test_a_port_that_is_taken_is_told_of_and_used_once_it_is_free(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        listen = f"127.0.0.1:{port}"
        async with a_page(tmp_path, listen=listen) as place:
            async with asyncio.timeout(60):
                while not place.site.trouble:
                    await asyncio.sleep(0.01)
            assert place.site.trouble.startswith(f"no status page at {listen}: another program has")
            other.close()
            async with asyncio.timeout(60), Visitor(place) as visitor:
                while place.site.trouble:
                    await asyncio.sleep(0.01)
                async with visitor.get("/healthz") as answer:
                    assert answer.status == 200


async def test_a_page_with_a_certificate_speaks_tls_and_takes_a_renewed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_RENEWAL_S", 0.2)
    files = certificate(tmp_path)
    listen = f"localhost:{free_port()}"
    async with a_page(tmp_path, listen=listen, **files) as place, asyncio.timeout(60):
        trust = ssl.create_default_context(cafile=files["cert_file"])
        async with Visitor(place) as visitor:
            form = {"token": place.token}
            answer = await visitor.post("/sign-in", data=form, ssl=trust, allow_redirects=False)
            assert "Secure" in answer.headers["Set-Cookie"]
        certificate(tmp_path)
        renewed = ssl.create_default_context(cafile=files["cert_file"])
        async with Visitor(place) as visitor:
            while True:
                try:
                    async with visitor.get("/healthz", ssl=renewed) as alive:
                        assert alive.status == 200
                    break
                except OSError:
                    await asyncio.sleep(0.05)


@pytest.mark.filterwarnings("ignore:unclosed <socket")
async def test_who_opens_many_connections_and_never_agrees_on_tls_takes_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections.Bounds.__init__, "__defaults__", (3,))
    async with a_page(tmp_path, **certificate(tmp_path)) as place, asyncio.timeout(60):
        opened = [await asyncio.open_connection(*place.config.web.place) for _ in range(4)]
        with contextlib.suppress(ConnectionError):
            assert await opened[-1][0].read() == b""
        assert not opened[0][0].at_eof()
        for _, writer in opened:
            writer.close()


async def test_a_handshake_that_came_to_nothing_is_forgotten() -> None:
    bounds, loop = connections.Bounds(1), asyncio.get_running_loop()
    page = web.Server(lambda _: asyncio.sleep(0))  # type: ignore[arg-type, return-value] # it answers nobody
    connections.BoundedConnection(page, bounds, loop)
    with pytest.raises(ConnectionAbortedError):
        connections.BoundedConnection(page, bounds, loop)
    later_s = loop.time() + connections.HANDSHAKE_S + 1
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "time", lambda: later_s)
        connections.BoundedConnection(page, bounds, loop)


def test_a_certificate_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    locked, gone = str(tmp_path / "locked.key"), str(tmp_path / "gone")
    for changed, said in (
        ({"key_file": locked}, "the key not encrypted"),
        ({"key_file": files["cert_file"]}, "no certificate with its key"),
        ({"cert_file": gone}, "gone: No such file"),
        ({"cert_file": locked}, "no certificate with its key"),
    ):
        with pytest.raises(ConfigError) as refused:
            server_context(WebSection(listen="0.0.0.0:1", **{**files, **changed}))
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)
