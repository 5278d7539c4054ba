"""Listen for visitors, and try again for as long as the port is another program's.

Whatever becomes of the page, bars and decisions go on: a port that is taken is a trouble of the
page alone.
"""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from daemon.config.schema import WebSection
from daemon.web.server.connections import HANDSHAKE_S, BoundedConnection, Bounds
from hyperdrift.clock import Clock
from hyperdrift.errors import ConfigError
from hyperdrift.process.home import expanded

log = structlog.get_logger()

_RETRY_S: Final = 10.0
_GOODBYE_S: Final = 1.0
_RENEWAL_S: Final = 60.0
_ELSEWHERE: Final = "write another web.listen and restart the daemon"
_REMEDIES: Final = {
    errno.EADDRINUSE: f"another program has this port: stop it, or {_ELSEWHERE}",
    errno.EACCES: f"a port below 1024 is root's: {_ELSEWHERE}",
    errno.EADDRNOTAVAIL: f"this host has no such address at present: {_ELSEWHERE}",
}


class Listener:
    """Serves an application at the address of `[web]`.

    Args:
        make_app: Makes what answers, anew for each run.
        section: `[web]` of the configuration; its certificate is read now.
        clock: Paces the attempts to listen.

    Attributes:
        trouble: Why nobody can reach the page, and what to do; empty if visitors can.

    Raises:
        ConfigError: If the certificate cannot be used.
    """

    def __init__(
        self, make_app: Callable[[], web.Application], section: WebSection, clock: Clock
    ) -> None:
        self._make_app, self._section, self._clock = make_app, section, clock
        self._tls = server_context(section)
        self.trouble = ""

    async def run(self) -> None:
        """Serve until cancelled; then end every connection at once."""
        runner = web.AppRunner(self._make_app(), access_log=None, shutdown_timeout=_GOODBYE_S)
        await runner.setup()
        try:
            assert runner.server is not None
            async with self._listening(runner.server):
                await self._renew()
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def _listening(self, server: web.Server) -> AsyncIterator[None]:
        made = partial(BoundedConnection, server, Bounds(), asyncio.get_running_loop())
        while (socket := await self._bound(made)) is None:
            await self._clock.sleep(_RETRY_S)
        self.trouble = ""
        log.info("web.listening", address=self._section.url)
        try:
            yield
        finally:
            socket.close()

    async def _bound(self, made: Callable[[], BoundedConnection]) -> asyncio.Server | None:
        host, port = self._section.place
        handshake_s = HANDSHAKE_S if self._tls else None
        try:
            return await asyncio.get_running_loop().create_server(
                made, host, port, ssl=self._tls, ssl_handshake_timeout=handshake_s
            )
        except OSError as e:
            self._tell(e)
            return None

    def _tell(self, error: OSError) -> None:
        remedy = _REMEDIES.get(error.errno or 0, f"{error.strerror}: {_ELSEWHERE}")
        if not self.trouble:
            log.warning("web.not_listening", address=self._section.listen, why=remedy)
        self.trouble = f"no status page at {self._section.listen}: {remedy}"

    async def _renew(self) -> None:
        """Use a certificate as soon as it is renewed, until cancelled."""
        read = _times(self._section)
        while True:
            await self._clock.sleep(_RENEWAL_S)
            found = await asyncio.to_thread(_times, self._section)
            if self._tls is None or found == read:
                continue
            try:
                await asyncio.to_thread(_load, self._tls, self._section)
            except ConfigError as e:
                log.warning("web.certificate_refused", why=str(e))
            else:
                log.info("web.certificate_renewed")
            read = found


def server_context(section: WebSection) -> ssl.SSLContext | None:
    """Return how the page speaks TLS; None if it does not.

    Raises:
        ConfigError: If the certificate or its key cannot be used.
    """
    if not section.cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(context, section)
    return context


def _files(section: WebSection) -> dict[str, Path]:
    named = {"cert_file": section.cert_file, "key_file": section.key_file}
    return {key: expanded(name) for key, name in named.items() if name}


def _load(context: ssl.SSLContext, section: WebSection) -> None:
    files = _files(section)
    for key, path in files.items():
        try:
            path.open("rb").close()
        except OSError as e:
            remedy = "write where it is, and let the daemon's user read it"
            raise ConfigError(f"web.{key} {path}: {e.strerror}: {remedy}") from e
    try:
        # Without a password a key that is encrypted would ask the terminal for one.
        context.load_cert_chain(files["cert_file"], files.get("key_file"), password="")
    except ssl.SSLError as e:
        wrong = f"web.cert_file {section.cert_file}: it is no certificate with its key"
        remedy = "write both in PEM, the key not encrypted, as web.cert_file and web.key_file"
        raise ConfigError(f"{wrong} ({e.reason or e}): {remedy}") from e


def _times(section: WebSection) -> list[int]:
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in _files(section).values()]
