"""Know each visitor: who asks, what the visitor may do, and how an answer looks to others."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web
from yarl import URL

from daemon.core.log_once import LogOnce
from daemon.store.database import StoreUnavailable
from daemon.web.server.access import AccessRules
from daemon.web.server.connections import REQUEST_S, connection_of
from daemon.web.server.page_token import PageToken
from daemon.web.server.sessions import Attempts, PageSession, Sessions
from daemon.web.views import Problem
from hyperdrift.clock import Clock
from hyperdrift.errors import BadInput, HyperdriftError

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[web.Request, Problem], Awaitable[web.StreamResponse]]

LIVE: Final = "/live"
"""The one path whose answer does not end."""
ANSWER_S: Final = 20.0
"""So long an answer may take; a store that is out of reach does not keep a visitor waiting."""
_TRIES_EACH, _TRIES_IN_ALL = 10, 60
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asks.

    Attributes:
        address: The visitor's address.
        session: The session of a browser; None if it is not signed in.
        has_token: Whether a program sent the token.
    """

    address: str
    session: PageSession | None = None
    has_token: bool = False

    @property
    def is_signed_in(self) -> bool:
        """Whether the visitor may command."""
        return self.has_token or self.session is not None


VISIT: Final = web.RequestKey("visit", Visit)


def visit_of(request: web.BaseRequest) -> Visit:
    """Return who asks."""
    return request[VISIT]


class Admission:
    """Lets visitors in, or says why not.

    Args:
        rules: What `[web]` says about visitors.
        token: What an operator signs in with.
        clock: Ends sessions and counts attempts.
        refuse: Answers with a problem.
        free: Paths that need no token, also where reading takes one; one with `/` at its end
            stands for all below it.
    """

    def __init__(
        self,
        rules: AccessRules,
        token: PageToken,
        clock: Clock,
        refuse: Answer,
        free: tuple[str, ...],
    ) -> None:
        self.rules, self.token, self.sessions = rules, token, Sessions(clock)
        self._refuse, self._free = refuse, free
        self._attempts = Attempts(clock, _TRIES_EACH, _TRIES_IN_ALL)
        self._told, self._faults = Attempts(clock, 1, 20, _HOUR_S), LogOnce()

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer one request: refuse it, or let `handler` answer, whatever it raises."""
        connection_of(request).give(REQUEST_S)
        address = self.rules.address(request)
        request[VISIT] = Visit(address)
        if problem := self.rules.refusal(request):
            return await self._refuse(request, problem)
        try:
            request[VISIT] = visit = self._recognise(request, address)
            if not (visit.is_signed_in or self.rules.is_open or self._is_free(request)):
                return await self._ask_to_sign_in(request)
            return await self._answered(request, handler)
        except Denied as e:
            return await self._refuse(request, e.problem)
        except web.HTTPException as e:
            return await self._refuse(request, _problem_of(e))

    def try_token(self, offered: str, address: str) -> None:
        """Check a token that a visitor offers.

        The right one is always taken: nobody guesses it, and wrong ones of strangers at the same
        address would keep its owner out.

        Raises:
            Denied: If it is wrong; with another status once there were too many wrong ones.
        """
        if self.token.fits(offered):
            return
        if not self._attempts.has_room(address):
            raise Denied(429, "too many wrong tokens in a minute", "wait a minute, then try again")
        self._attempts.count(address)
        if self._told.has_room(address):
            self._told.count(address)
            log.warning("web.token_refused", address=address)
        raise Denied(
            401,
            "this token is wrong",
            "copy the one that `sudo hyperdrift web token` prints on the daemon's host",
        )

    def _recognise(self, request: web.Request, address: str) -> Visit:
        scheme, _, offered = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self.try_token(offered.strip(), address)
            return Visit(address, has_token=True)
        cookie = request.cookies.get(self.rules.cookie)
        return Visit(address, session=self.sessions.find(cookie) if cookie else None)

    def _is_free(self, request: web.Request) -> bool:
        path = request.path
        return any(path == one or (one[-1] == "/" and path.startswith(one)) for one in self._free)

    async def _ask_to_sign_in(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET" and wants_page(request):
            return see_other(URL("/sign-in").with_query(to=request.path_qs))
        raise Denied(401, "reading takes the token", "send `Authorization: Bearer <token>`")

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path == LIVE:
                return await handler(request)
            async with asyncio.timeout(ANSWER_S):
                return await handler(request)
        except TimeoutError:
            raise Denied(503, "the answer took too long", "try again in a minute") from None
        except StoreUnavailable as e:
            raise Denied(503, str(e), "`hyperdrift doctor` says more") from e
        except BadInput as e:
            raise Denied(400, str(e), "correct the address or the form") from e
        except (Denied, web.HTTPException, ConnectionError):
            raise
        except HyperdriftError as e:
            raise Denied(500, str(e), "`hyperdrift doctor` says more") from e
        except Exception as e:
            resource = request.match_info.route.resource
            if self._faults.begins((resource and resource.canonical, type(e))):
                log.exception("web.fault", path=request.path)
            remedy = "report it with the line `web.fault` of the daemon's log"
            raise Denied(500, "this page failed by a fault of hyperdrift", remedy) from e


class Denied(HyperdriftError):
    """A request is answered with a problem."""

    def __init__(self, status: int, error: str, what_to_do: str) -> None:
        super().__init__(error)
        self.problem = Problem(status=status, error=error, what_to_do=what_to_do)


def see_other(to: URL | str) -> web.Response:
    """Send a browser to another page."""
    return web.Response(status=303, headers={"Location": str(to)})


def wants_page(request: web.BaseRequest) -> bool:
    """Return whether the visitor is a person who wants a page, not a program."""
    return not request.path.startswith("/api/") and "html" in request.headers.get("Accept", "")


def _problem_of(error: web.HTTPException) -> Problem:
    known = {
        404: ("there is no such page", "go to the first page"),
        405: ("this is not done with that method", "see the reference of the API"),
        413: ("the request is too large", "send less"),
    }
    said, remedy = known.get(error.status, (error.reason, "correct the request"))
    return Problem(status=error.status, error=said, what_to_do=remedy)
