"""Real brokers for tests: a mosquitto that can be stopped and started on one port."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from daemon.mqtt import embedded_broker
from daemon.mqtt.embedded_broker import EmbeddedBroker
from daemon.mqtt.messages import encode
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.broker_address import BrokerAddress
from hyperdrift.mqtt.connection import MqttConnection
from tests.ports import free_port

embedded_broker.READY_S = 60.0  # it is a process, and the host may be busy
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Mosquitto:
    """A mosquitto of this test's own, forgetting retained messages when stopped."""

    def __init__(self, folder: Path) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed")
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = await asyncio.create_subprocess_exec(
            MOSQUITTO, "-c", str(self._config), stderr=asyncio.subprocess.DEVNULL
        )
        await until(self._answers)

    async def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False


class Embedded:
    """The embedded broker behind the same four names."""

    def __init__(self, _folder: Path) -> None:
        self._port = free_port()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._broker = EmbeddedBroker(SystemClock(), self._port, anonymous=True)
        await self._broker.__aenter__()

    async def stop(self) -> None:
        await self._broker.__aexit__(None, None, None)


async def until(true: Callable[[], object], within_s: float = 60.0) -> None:
    """Wait until something is so; fail if it never is."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.005)


async def subscribed(*buses: MqttConnection) -> None:
    """Wait until the broker knows what these subscribed to: it answers each in order."""
    for bus in buses:
        bus.publish("mark", {})
        await bus.flush()


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[MqttConnection]:
    """Hold a connection that says and hears what the test wants."""
    bus = MqttConnection(BrokerAddress.parse(url), SystemClock(), encode=encode)
    task = asyncio.create_task(bus.run())
    await bus.wait_connected()
    try:
        yield bus
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
