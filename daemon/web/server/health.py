"""Tell programs that look after processes whether the daemon lives, and whether it is ready."""

from collections.abc import Callable

from aiohttp import web

from daemon.web.server.visits import visit_of

LIVES, READY = "/healthz", "/readyz"


class Health:
    """The handlers for whoever restarts the daemon or sends visitors to it.

    Args:
        not_ready: Returns why the daemon is not ready, "" if it is.
        is_open: Whether everybody may read; if not, strangers are not told why.
    """

    def __init__(self, not_ready: Callable[[], str], *, is_open: bool) -> None:
        self._not_ready, self._is_open = not_ready, is_open

    def routes(self) -> list[web.RouteDef]:
        """Return both paths."""
        return [web.get(LIVES, self._lives), web.get(READY, self._ready)]

    async def _lives(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, request: web.Request) -> web.Response:
        why = self._not_ready()
        told = self._is_open or visit_of(request).is_signed_in
        shown = (why if told else "not ready") if why else "ready"
        return web.Response(text=f"{shown}\n", status=503 if why else 200)
