import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from daemon.mqtt import embedded_broker
from daemon.mqtt.embedded_broker import EmbeddedBroker
from hyperdrift.clock import SystemClock
from hyperdrift.errors import ConfigError
from tests.daemon.brokers import until
from tests.ports import free_port


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_it_listens_while_it_is_open_and_frees_the_port_afterwards() -> None:
    async with EmbeddedBroker(SystemClock(), anonymous=True) as broker:
        port = broker.port
        assert listening(port)
        assert broker.url == f"mqtt://127.0.0.1:{port}"
    assert not listening(port)


async def test_it_is_started_again_on_the_same_port_when_it_dies() -> None:
    async with EmbeddedBroker(SystemClock(), anonymous=True) as broker:
        first = broker.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: broker.pid not in {None, first} and listening(broker.port))


async def test_a_port_that_is_taken_is_refused_with_what_to_do() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"port {port} .* is taken"):
        async with EmbeddedBroker(SystemClock(), port):
            pass
    server.close()
    await server.wait_closed()


async def test_a_port_that_a_stranger_holds_is_told_and_taken_once_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    port = free_port()
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", port)
    monkeypatch.setattr(embedded_broker, "listeners", lambda _port: {4711})
    made = EmbeddedBroker(
        SystemClock(), port, anonymous=True, on_refusal=lambda kind, about, _: told.append(about)
    )
    async with made:
        assert told == [f"user 4711 listens on 127.0.0.1:{port}"]
        assert made.pid is None
        server.close()
        await server.wait_closed()
        await until(lambda: made.pid is not None and listening(port))


async def test_it_dies_with_its_parent_even_if_that_is_killed() -> None:
    script = textwrap.dedent("""
        import asyncio, sys
        from daemon.mqtt.embedded_broker import EmbeddedBroker
        from hyperdrift.clock import SystemClock
        async def main():
            async with EmbeddedBroker(SystemClock(), anonymous=True) as broker:
                print(broker.port, broker.pid, flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    line = await asyncio.to_thread(parent.stdout.readline)
    while line and not line.split()[0].isdigit():  # a log line
        line = await asyncio.to_thread(parent.stdout.readline)
    port = int(line.split()[0])
    assert listening(port)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await until(lambda: not listening(port))


async def test_a_name_of_64_kib_is_told_of_in_a_short_line_and_the_broker_goes_on() -> None:
    told: list[str] = []
    made = EmbeddedBroker(SystemClock(), on_refusal=lambda _kind, about, _count: told.append(about))
    async with made as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        texts = (b"", b"\x1b" * 65_000, b"")
        parts = b"".join(len(text).to_bytes(2, "big") + text for text in texts)
        body = b"\0\4MQTT\4\xc2\0\0" + parts
        length = bytes((len(body) & 0x7F | 0x80, len(body) >> 7 & 0x7F | 0x80, len(body) >> 14))
        writer.write(b"\x10" + length + body)
        assert await reader.read() == b"\x20\2\0\5"
        await until(lambda: told)
        assert told == ["\x1b" * 200]
        assert listening(broker.port)
        writer.close()
