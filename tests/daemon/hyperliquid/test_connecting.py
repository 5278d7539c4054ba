"""Both connections to the venue go through the proxy that is set, and past a dead address."""

import asyncio
import base64
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from daemon.core.clock import VenueClock
from daemon.core.errors import VenueUnreachable
from daemon.demo.exchange import ReplayExchange
from daemon.demo.market import generate
from daemon.hyperliquid.connecting import proxy_for
from daemon.hyperliquid.rest import RestClient
from daemon.hyperliquid.stream import CandleStream
from daemon.hyperliquid.stream_events import Connected, Disconnected
from hyperdrift.clock import SystemClock
from hyperdrift.errors import ConfigError
from hyperdrift.slot_name import SlotName
from tests.daemon.clocks import FastClock
from tests.daemon.secured import certify

RECORDING = generate(300, 300_000, 5, start_ms=1_750_000_200_000, change_at=None)
SLOT = SlotName("BTC", "5m")
NAME = "venue.test"
"""A host that no resolver knows: only the proxy finds it, on this machine."""


class Proxy:
    """A small HTTP proxy: tunnels for CONNECT, else passes the request on; it notes each head."""

    def __init__(self, status: str = "200 OK") -> None:
        self._status = status
        self.heads: list[list[str]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def asked(self) -> set[str]:
        return {head[0].rpartition(" ")[0] for head in self.heads}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode().splitlines())
            method, target, _ = self.heads[-1][0].split()
            if not self._status.startswith("200"):
                writer.write(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
                return writer.close()
            port = urlsplit(target if "//" in target else f"//{target}").port
            there, back = await asyncio.open_connection("127.0.0.1", port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                back.write(head)
            await carry(reader, writer, there, back)
        return None


async def carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    back: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways until one side ends."""

    async def pump(one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await one.read(65536):
                other.write(data)

    ways = [asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in ways:
        way.cancel()
    for end in (writer, back):
        end.transport.abort()


@asynccontextmanager
async def exchange() -> AsyncIterator[int]:
    """Hold a venue on this machine; give its port."""
    start_ms = int(RECORDING.t[200]) + 30_000
    async with ReplayExchange([RECORDING], SystemClock(), speed=1, start_ms=start_ms) as venue:
        yield int(urlsplit(venue.url).port or 0)


async def reach(rest_url: str, ws_url: str) -> None:
    """Ask the venue by REST, and open its stream."""
    clock = SystemClock()
    async with asyncio.timeout(60), RestClient(rest_url, clock, VenueClock(clock)) as rest:
        assert "BTC" in await rest.meta()
        stream = CandleStream(ws_url, clock, [SLOT])
        task = asyncio.create_task(stream.run())
        try:
            while not isinstance(event := await stream.events.get(), Connected):
                assert not isinstance(event, Disconnected), event.why
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_without_tls_both_connections_use_http_proxy_with_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with exchange() as port, Proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        await reach(f"http://{NAME}:{port}", f"ws://{NAME}:{port}/ws")
    assert proxy.asked() == {f"POST http://{NAME}:{port}/info", f"CONNECT {NAME}:{port}"}
    credentials = "Basic " + base64.b64encode(b"me:secret").decode()
    for head in proxy.heads:
        assert f"proxy-authorization: {credentials}".lower() in [line.lower() for line in head]


async def test_with_tls_both_connections_use_https_proxy_as_doctor_shows(tmp_path: Path) -> None:
    async with exchange() as port, Proxy() as proxy:
        trusted = certify(tmp_path, NAME)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "broker.crt", tmp_path / "broker.key")

        async def unwrap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await carry(reader, writer, *await asyncio.open_connection("127.0.0.1", port))

        async with await asyncio.start_server(unwrap, "127.0.0.1", 0, ssl=context) as secured:
            place = f"{NAME}:{secured.sockets[0].getsockname()[1]}"
            config = tmp_path / "hyperdrift.toml"
            config.write_text(
                f'[daemon]\ndata_dir = "{tmp_path}/data"\n[mqtt]\nport = 9\n[hyperliquid]\n'
                f'rest_url = "https://{place}"\nws_url = "wss://{place}/ws"\n'
            )
            doctor = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "daemon.cli", "doctor", "--json", "--config", str(config)),
                stdout=asyncio.subprocess.PIPE,
                env={
                    **os.environ,
                    "SSL_CERT_FILE": str(trusted),
                    "HTTPS_PROXY": f"127.0.0.1:{proxy.port}",  # as curl takes it too
                },
            )
            out, _ = await doctor.communicate()
    (venue,) = [check for check in json.loads(out)["checks"] if check["name"] == "venue"]
    assert venue["problem"] == ""
    assert venue["note"] == f"https://{place} through a proxy"
    assert proxy.asked() == {f"CONNECT {place}"}
    assert len(proxy.heads) >= 2


async def test_a_proxy_that_refuses_is_named_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FastClock(200)
    async with Proxy("407 Who are you") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        async with RestClient(f"https://{NAME}", clock, VenueClock(clock)) as rest:
            with pytest.raises(VenueUnreachable, match="407"):
                await rest.learn_clock()
        stream = CandleStream(f"wss://{NAME}/ws", clock, [SLOT])
        task = asyncio.create_task(stream.run())
        event = await asyncio.wait_for(stream.events.get(), 60)
        task.cancel()
        assert isinstance(event, Disconnected)
        assert "407" in event.why


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "https://a.b", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.b", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "wss://a.b/ws", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://a.b", None),
        ({"HTTP_PROXY": "p:1"}, "ws://a.b/ws", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "wss://a.b", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "socks5://q:2"}, "wss://a.b", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x,.b"}, "https://a.b", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.b:443"}, "wss://a.b/ws", None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.b:444"}, "wss://a.b/ws", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "https://a.b", None),
        ({"HTTP_PROXY": "http://p:1", "NO_PROXY": "127.0.0.1"}, "http://127.0.0.1:8", None),
        ({"HTTPS_PROXY": "socks5://p:1", "NO_PROXY": "a.b"}, "https://a.b", None),
    ],
)
def test_the_proxy_is_that_of_the_scheme_unless_the_host_is_excepted(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("HTTPS_PROXY", "socks5://me:secret@p:1080", "HTTPS_PROXY is socks5://p:1080, and SOCKS"),
        ("ALL_PROXY", "socks5h://p", "set HTTPS_PROXY=http://host:port, or NO_PROXY=a.b"),
        ("HTTPS_PROXY", "ftp://me:secret@p:1", "HTTPS_PROXY is no proxy"),
        ("HTTPS_PROXY", "http://me:secret@p:99999", "HTTPS_PROXY is no proxy"),
        ("HTTPS_PROXY", "http://me@p:1", "username provided without password"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as refused:
        proxy_for("wss://a.b/ws")
    text = str(refused.value)
    assert says in text
    assert "secret" not in text
    assert "\n" not in text


@asynccontextmanager
async def dead_address() -> AsyncIterator[tuple[str, int]]:
    """Give an IPv6 address that takes no connection and refuses none: its queue is full."""
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 address")
        listener.listen(0)
        waiting = [socket.socket(socket.AF_INET6) for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        await asyncio.sleep(0.05)
        yield listener.getsockname()[:2]
        for one in waiting:
            one.close()


async def test_an_ipv6_address_that_leads_nowhere_keeps_neither_connection_from_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with exchange() as port, dead_address() as dead:
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        found = [
            (socket.AF_INET6, *kind, (*dead, 0, 0)),
            (socket.AF_INET, *kind, ("127.0.0.1", port)),
        ]

        async def resolve(host: str, *_: object, **__: Any) -> list[Any]:
            assert host == NAME
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        began = time.monotonic()
        await reach(f"http://{NAME}:{port}", f"ws://{NAME}:{port}/ws")
        assert time.monotonic() - began > 0.25  # the dead one was tried
