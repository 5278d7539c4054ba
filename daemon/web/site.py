"""Put the parts of the status page together; nothing else of the daemon depends on it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from daemon.config.schema import Config
from daemon.core.clock import VenueClock
from daemon.web.server.access import AccessRules
from daemon.web.server.api import Api
from daemon.web.server.contract import PageData, Renderer
from daemon.web.server.entrance import PATH as SIGN_IN
from daemon.web.server.entrance import Entrance
from daemon.web.server.headers import set_headers
from daemon.web.server.health import LIVES, READY, Health
from daemon.web.server.listener import Listener
from daemon.web.server.page_token import PageToken
from daemon.web.server.pages import Pages
from daemon.web.server.reading import Reading
from daemon.web.server.visits import Doorkeeper
from hyperdrift.clock import Clock

log = structlog.get_logger()

STATIC: Final = Path(__file__).parent / "pages" / "static"
_LARGEST: Final = 16 * 1024
_LOOK_S: Final = 1.0


class Site:
    """The status page of one daemon.

    Args:
        config: The configuration; its `[web]` has an address.
        data: What the pages show.
        renderer: Makes HTML of it.
        clock: Real time.
        venue: The clock that pages tell the time by.
        not_ready: Returns why the daemon is not ready, "" if it is.

    Raises:
        ConfigError: If the certificate cannot be used.
    """

    def __init__(
        self,
        config: Config,
        data: PageData,
        renderer: Renderer,
        *,
        clock: Clock,
        venue: VenueClock,
        not_ready: Callable[[], str],
    ) -> None:
        self._clock, self._token = clock, PageToken(config.data_dir)
        self._no_token = ""
        slots = tuple(section.name for section in config.slots)
        reading = Reading(data, slots)
        pages = Pages(reading, renderer, venue, config.data_dir / "models")
        free = (LIVES, READY, SIGN_IN, "/static/")
        self._door = Doorkeeper(AccessRules(config.web), self._token, clock, pages.refuse, free)
        parts = (Health(not_ready), pages, Api(reading), Entrance(pages, self._door))
        app = web.Application(middlewares=[self._door.admit], client_max_size=_LARGEST)
        app.on_response_prepare.append(set_headers)
        for part in parts:
            app.add_routes(part.routes())
        if STATIC.is_dir():
            app.router.add_static("/static/", STATIC)
        self._listener = Listener(app, config.web, clock)

    @property
    def trouble(self) -> str:
        """Why visitors cannot do all that they may, and what to do; empty if they can."""
        return "; ".join(filter(None, (self._listener.trouble, self._no_token)))

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listener.run(), name="page-listener")
            tasks.create_task(self._watch_token(), name="page-token")

    async def _watch_token(self) -> None:
        """Make the token if there is none, and end all sessions when it is another one."""
        while True:
            try:
                if await asyncio.to_thread(self._token.own):
                    self._door.sessions.end_all()
                    log.info("web.token_replaced")
                self._no_token = ""
            except OSError as e:
                why = f"{e.filename}: {e.strerror}"
                if not self._no_token:
                    log.warning("web.no_token", why=why)
                self._no_token = f"nobody can sign in at the status page: {why}"
            await self._clock.sleep(_LOOK_S)
