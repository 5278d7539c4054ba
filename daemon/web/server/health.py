"""Tell programs that look after processes whether the daemon lives, and whether it is ready."""

from collections.abc import Callable

from aiohttp import web

LIVES, READY = "/healthz", "/readyz"


class Health:
    """The handlers for whoever restarts the daemon or sends visitors to it.

    Args:
        not_ready: Returns why the daemon is not ready, "" if it is.
    """

    def __init__(self, not_ready: Callable[[], str]) -> None:
        self._not_ready = not_ready

    def routes(self) -> list[web.RouteDef]:
        """Return both paths."""
        return [web.get(LIVES, self._lives), web.get(READY, self._ready)]

    async def _lives(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        why = self._not_ready()
        return web.Response(text=f"{why or 'ready'}\n", status=503 if why else 200)
