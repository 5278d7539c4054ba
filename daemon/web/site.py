"""Put the parts of the status page together; nothing else of the daemon depends on it."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import structlog
from aiohttp import web

from daemon.config.schema import Config
from daemon.core.clock import VenueClock
from daemon.core.tasks import single_failure
from daemon.runtime.announcements import Announcements
from daemon.web.server.access import AccessRules
from daemon.web.server.api import Api
from daemon.web.server.contract import PageData, Renderer
from daemon.web.server.headers import STATIC, set_headers
from daemon.web.server.health import LIVES, READY, Health
from daemon.web.server.listener import Listener
from daemon.web.server.live import LiveUpdates, StateOf
from daemon.web.server.orders import CommandSink, Orders
from daemon.web.server.page_token import PageToken
from daemon.web.server.pages import Pages
from daemon.web.server.reading import Reading
from daemon.web.server.sign_in import PATH as SIGN_IN
from daemon.web.server.sign_in import SignInPages
from daemon.web.server.visits import Admission
from hyperdrift.clock import Clock
from hyperdrift.slot_name import SlotName

log = structlog.get_logger()

_FILES: Final = Path(__file__).parent / "pages" / "static"
_LARGEST: Final = 16 * 1024
_LOOK_S: Final = 1.0
_AGAIN_S: Final = 10.0


class Part(Protocol):
    """Some paths of the page."""

    def routes(self) -> list[web.RouteDef]:
        """Return the paths and who answers there."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What the page needs of the daemon.

    Attributes:
        data: What the pages show.
        state_of: Returns the state of a slot.
        commands: Takes commands.
        announcements: Tells what happens, and brings the answers to commands.
        not_ready: Returns why the daemon is not ready, "" if it is.
        clock: Real time.
        venue: The clock that pages tell the time by.
        slots: The slots of the daemon; they may change.
    """

    data: PageData
    state_of: StateOf
    commands: CommandSink
    announcements: Announcements
    not_ready: Callable[[], str]
    clock: Clock
    venue: VenueClock
    slots: Collection[SlotName]


class Site:
    """The status page of one daemon.

    Args:
        config: The configuration; its `[web]` has an address.
        sources: The daemon.
        renderer: Makes HTML of what it tells.
        more: Other paths, for whoever may read.

    Raises:
        ConfigError: If the certificate cannot be used.
    """

    def __init__(
        self, config: Config, sources: Sources, renderer: Renderer, more: Collection[Part] = ()
    ) -> None:
        self._clock, self._token = sources.clock, PageToken(config.data_dir)
        self._fault = self._no_token = ""
        reading = Reading(sources.data, sources.slots)
        pages = Pages(reading, renderer, sources.venue, config.data_dir / "models")
        free = (LIVES, READY, SIGN_IN, STATIC)
        rules = AccessRules(config.web)
        self._admission = Admission(rules, self._token, self._clock, pages.refuse, free)
        self._live = LiveUpdates(
            reading,
            sources.data,
            renderer,
            state_of=sources.state_of,
            announcements=sources.announcements,
            clock=self._clock,
            venue=sources.venue,
        )
        parts: tuple[Part, ...] = (
            *(
                Health(sources.not_ready, is_open=rules.is_open),
                pages,
                Api(reading),
                SignInPages(pages, self._admission),
            ),
            *(self._live, Orders(reading, sources.commands, sources.announcements, self._clock)),
            *more,
        )
        self._listener = Listener(partial(self._application, parts), config.web, self._clock)

    @property
    def trouble(self) -> str:
        """Why visitors cannot do all that they may, and what to do; empty if they can."""
        return "; ".join(filter(None, (self._fault, self._listener.trouble, self._no_token)))

    async def run(self) -> None:
        """Serve until cancelled; a fault of the page ends nothing but the page."""
        while True:
            try:
                await self._learn_token()
                with single_failure():
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._listener.run(), name="page-listener")
                        tasks.create_task(self._watch_token(), name="page-token")
                        tasks.create_task(self._live.run(), name="page-live")
            except Exception:
                log.exception("web.failed")
                self._fault = "the status page failed by a fault of hyperdrift: report `web.failed`"
            await self._clock.sleep(_AGAIN_S)

    def _application(self, parts: Iterable[Part]) -> web.Application:
        app = web.Application(middlewares=[self._admission.admit], client_max_size=_LARGEST)
        app.on_response_prepare.append(set_headers)
        app.on_shutdown.append(self._end_streams)
        for part in parts:
            app.add_routes(part.routes())
        app.router.add_static(STATIC, _FILES)
        return app

    async def _end_streams(self, _app: web.Application) -> None:
        self._live.end_all()

    async def _watch_token(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_S)
            await self._learn_token()

    async def _learn_token(self) -> None:
        """Make the token if there is none, and end all sessions when it is another one."""
        try:
            if await asyncio.to_thread(self._token.own):
                self._admission.sessions.end_all()
                self._live.end_all()
                log.info("web.token_replaced")
            self._no_token = ""
        except OSError as e:
            why = f"{e.filename}: {e.strerror}"
            if not self._no_token:
                log.warning("web.no_token", why=why)
            self._no_token = f"nobody can sign in at the status page: {why}"
