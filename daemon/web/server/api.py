"""Answer programs: the data of the pages as JSON, below `/api/v1`."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from daemon.web.server.reading import Read, Reading

BASE: Final = "/api/v1"


class Api:
    """The handlers of the API.

    Args:
        reading: Reads what they answer.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def routes(self) -> list[web.RouteDef]:
        """Return the paths of the API."""
        return [web.get(BASE + read.api, _handler(read)) for read in self._reading.all()]


def json_answer(content: Any, status: int = 200) -> web.Response:
    """Answer with JSON."""
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json")


def _handler(read: Read) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return json_answer(await read.get(request))

    return answer
