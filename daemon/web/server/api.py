"""Answer programs: the data of the pages as JSON, below `/api/v1`."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from daemon.web.server.answers import BASE, json_answer
from daemon.web.server.openapi import document
from daemon.web.server.reading import Read, Reading


class Api:
    """The handlers of the API.

    Args:
        reading: Reads what they answer.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def routes(self) -> list[web.RouteDef]:
        """Return the paths of the API."""
        reads = [web.get(BASE + read.api, _handler(read)) for read in self._reading.all()]
        return [*reads, web.get(f"{BASE}/openapi.json", _describe)]


def _handler(read: Read) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return json_answer(await read.get(request))

    return answer


async def _describe(_request: web.Request) -> web.Response:
    return web.Response(body=document(), content_type="application/json")
