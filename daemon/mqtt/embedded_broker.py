"""The embedded broker: MQTT on this machine without installing anything.

It runs as a child process, so that what clients do to it costs the daemon nothing. The child
ends when its standard input closes. That happens when this process ends for any reason, so no
child stays and keeps the port.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import structlog

from daemon.core.errors import BrokerUnreachable
from daemon.core.log_once import LogOnce
from daemon.core.tasks import running
from hyperdrift.clock import Clock
from hyperdrift.errors import ConfigError
from hyperdrift.mqtt.login import listeners, user_name

HOST = "127.0.0.1"
READY_S = 10.0
_ROOT: Final = Path(__file__).parents[2]

OnRefusal = Callable[[str, str, int], None]

log = structlog.get_logger()


class EmbeddedBroker:
    """A broker on 127.0.0.1 that runs during an `async with`; it is restarted if it dies.

    A restart loses retained messages, so a publisher must publish them again when it
    reconnects; `hyperdrift.mqtt.connection` does.

    Args:
        clock: Times the waits.
        port: Its TCP port; None takes a free one.
        passwords: User -> password.
        anonymous: Whether everybody may do everything, also without a user.
        prefix: First level of the topics that the users' rights are about.
        on_refusal: Told the kind, the particulars and the count of what it refuses.
    """

    def __init__(
        self,
        clock: Clock,
        port: int | None = None,
        *,
        passwords: Mapping[str, str] = MappingProxyType({}),
        anonymous: bool = False,
        prefix: str = "hyperdrift",
        on_refusal: OnRefusal | None = None,
    ) -> None:
        self._clock, self._wanted, self._on_refusal = clock, port, on_refusal
        self._settings = {
            "host": HOST,
            "passwords": dict(passwords),
            "prefix": prefix,
            "anonymous": anonymous,
        }
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
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

        If a stranger holds the port, it is started as soon as the port is free.

        Raises:
            ConfigError: If the port is taken, by this user's or root's doing.
            BrokerUnreachable: If it does not accept connections in time.
        """
        self.port = self._wanted or _free_port(0)
        try:
            if not self._is_strangers():
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

    def _is_strangers(self) -> bool:
        """Whether another user holds the port, who must not keep the daemon from its work."""
        strangers = listeners(self.port) - {0, os.geteuid()}
        for uid in strangers:
            log.error("broker.port_taken", port=self.port, by=user_name(uid))
            if self._on_refusal is not None:
                self._on_refusal("port", f"{user_name(uid)} listens on {HOST}:{self.port}", 1)
        return bool(strangers)

    async def _start(self) -> None:
        _free_port(self.port)
        self._process = process = await asyncio.create_subprocess_exec(
            # -P: Python must not import a folder named daemon in place of the package.
            *(sys.executable, "-P", "-m", "daemon.mqtt.broker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": _path()},
            start_new_session=True,  # Ctrl+C goes to the daemon alone; it still publishes
        )
        assert process.stdin is not None
        assert process.stdout is not None
        # Not by its arguments: everybody on the host can read those.
        process.stdin.write(json.dumps({**self._settings, "port": self.port}).encode() + b"\n")
        try:
            async with asyncio.timeout(READY_S):
                ready = await process.stdout.readline()
        except TimeoutError:
            ready = b""
        if not ready:
            msg = f"the embedded broker did not come up on {HOST}:{self.port}; see its output"
            raise BrokerUnreachable(msg)
        if self._listener is not None:
            await self._listener  # of the one before
        self._listener = asyncio.create_task(self._listen(process.stdout))
        log.info("broker.ready", url=self.url, pid=process.pid)

    async def _listen(self, told: asyncio.StreamReader) -> None:
        """Pass on what the broker refuses, until it ends."""
        while line := await told.readline():
            if self._on_refusal is not None:
                found = json.loads(line)
                self._on_refusal(found["kind"], found["particulars"], found["count"])

    async def _keep(self) -> None:
        """Restart the broker whenever it ends."""
        failure = LogOnce()
        while True:
            if self._process is not None:
                code = await self._process.wait()
                log.error("broker.died", code=code, restarting=True)
            try:
                await self._start()
            except (BrokerUnreachable, ConfigError, OSError) as e:
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
        if self._listener is not None:
            await self._listener  # the pipe has ended
            self._listener = None
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(OSError):
                await process.stdin.wait_closed()


def _path() -> str:
    """Return the import path of the child: ours first."""
    return os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))


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
