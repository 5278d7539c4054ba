"""The embedded broker: MQTT on this machine without installing anything.

The broker has no function that stops it, so it runs as a child process. The child ends when
its standard input closes. That happens when this process ends for any reason, so no child
stays and keeps the port.
"""

import asyncio
import contextlib
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from daemon.core.errors import BrokerUnreachable
from daemon.core.log_once import LogOnce
from daemon.core.tasks import running
from hyperdrift.clock import Clock
from hyperdrift.errors import ConfigError

HOST = "127.0.0.1"
READY_S = 10.0
_CHILD: Final = Path(__file__).with_name("embedded_broker_process.py")

log = structlog.get_logger()


class EmbeddedBroker:
    """A broker on 127.0.0.1 that runs during an `async with`; it is restarted if it dies.

    It has no passwords. A restart loses retained messages, so a publisher must publish them
    again when it reconnects; `hyperdrift.mqtt.connection` does.
    """

    def __init__(self, clock: Clock, port: int | None = None) -> None:
        self._clock, self._wanted = clock, port
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._keeping = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        """The address, as `hyperdrift.mqtt.connection.BrokerAddress.parse` takes it."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the broker, None while it does not run."""
        return self._process.pid if self._process is not None else None

    async def __aenter__(self) -> Self:
        """Start it and wait until it accepts connections.

        Raises:
            ConfigError: If the port is taken.
            BrokerUnreachable: If it does not accept connections in time.
        """
        self.port = _free_port(self._wanted or 0)
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        await self._keeping.enter_async_context(running(self._keep(), "embedded-broker"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; the port is free afterwards."""
        try:
            await self._keeping.__aexit__(kind, error, trace)
        finally:
            await self._stop()

    async def _start(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            # -P: Python must not import a folder named iotcore in place of the package.
            *(sys.executable, "-P", str(_CHILD), HOST, str(self.port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C goes to the daemon alone; it still publishes
        )
        deadline = self._clock.monotonic() + READY_S
        while not await _answers(self.port):
            if process.returncode is not None or self._clock.monotonic() > deadline:
                msg = f"the embedded broker did not come up on {HOST}:{self.port}; see its output"
                raise BrokerUnreachable(msg)
            await self._clock.sleep(0.02)
        log.info("broker.ready", url=self.url, pid=process.pid)

    async def _keep(self) -> None:
        """Restart the broker whenever it ends."""
        failure = LogOnce()
        while True:
            if self._process is not None:
                code = await self._process.wait()
                log.error("broker.died", code=code, restarting=True)
            try:
                await self._start()
            except (BrokerUnreachable, OSError) as e:
                await self._stop()
                if failure.begins():
                    log.error("broker.restart_failed", why=str(e))  # noqa: TRY400 - no trace
                await self._clock.sleep(1.0)
            else:
                failure.ends()

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # it stores nothing, so nothing is lost
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(OSError):
                await process.stdin.wait_closed()


def _free_port(wanted: int) -> int:
    """Return `wanted` if it is free, or any free port for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as e:
            msg = f"port {wanted} of {HOST} is taken: stop what listens there, or point mqtt.broker"
            raise ConfigError(f"{msg} at it, mqtt://{HOST}:{wanted}") from e
        return int(probe.getsockname()[1])


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
