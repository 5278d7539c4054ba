"""Keep few connections of visitors, and none for long of which nothing comes.

A visitor who sends nothing, or reads nothing, would hold memory and an open file of the daemon.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from daemon.web.server.headers import STRICT

log = structlog.get_logger()

MOST_CONNECTIONS: Final = 256
HANDSHAKE_S: Final = 10.0
"""So long a new connection may take to agree on TLS."""
FIRST_S: Final = 10.0
"""So long a new connection may take to send the head of its first request."""
REQUEST_S: Final = 60.0
"""So long a request and its answer may take together, and the idle time after it."""
_IDLE_S: Final = 30.0
_LONGEST_FIELD: Final = 8190
_MOST_FIELDS: Final = 64
_OUR_FAULT: Final = 500


class Bounds:
    """The connections there are, and how many there may be.

    The oldest one goes when there are too many. So nobody is kept out by strangers who open
    connections and send nothing; pages that are open and show news stay.
    """

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self.open: dict[BoundedConnection, None] = {}  # in the order they came
        self._expected: dict[int, float] = {}  # those that agree on TLS, and since when

    def expect(self, connection: "BoundedConnection", now_s: float) -> None:
        """Count a connection that is not made yet: each holds an open file of the daemon.

        Raises:
            ConnectionAbortedError: If there are too many, which closes it.
        """
        while self._expected and now_s - next(iter(self._expected.values())) > HANDSHAKE_S:
            del self._expected[next(iter(self._expected))]
        if len(self._expected) >= self._most:
            raise ConnectionAbortedError
        self._expected.pop(id(connection), None)  # of one that is no more, so the order stays
        self._expected[id(connection)] = now_s

    def admit(self, connection: "BoundedConnection") -> None:
        """Count a connection, and end another one if there is no room for it."""
        self._expected.pop(id(connection), None)
        if len(self.open) >= self._most:
            oldest = next((one for one in self.open if not one.lasts), connection)
            self.open.pop(oldest, None)
            oldest.abort()
            if oldest is connection:
                return
        self.open[connection] = None


class BoundedConnection(RequestHandler):
    """A visitor's connection, which ends if nothing comes of it.

    Args:
        server: Answers its requests.
        bounds: Counts it.
        loop: The event loop.

    Raises:
        ConnectionAbortedError: If too many others are not made yet.
    """

    def __init__(self, server: Any, bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # its type knows no None
            keepalive_timeout=_IDLE_S,
            max_line_size=_LONGEST_FIELD,
            max_field_size=_LONGEST_FIELD,
            max_headers=_MOST_FIELDS,
        )
        bounds.expect(self, loop.time())
        self._bounds = bounds
        self._on_end: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or end it if there are too many."""
        super().connection_made(transport)
        self.give(FIRST_S)
        self._bounds.admit(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget a connection that ended."""
        self.give(None)
        self._bounds.open.pop(self, None)
        if self._on_end is not None:
            self._on_end()
        super().connection_lost(exc)

    @property
    def lasts(self) -> bool:
        """Whether it has no limit."""
        return self._timer is None

    def last(self, on_end: Callable[[], object]) -> None:
        """Let the connection last without a limit; `on_end` is called when it ends."""
        self.give(None)
        self._on_end = on_end

    def give(self, seconds: float | None) -> None:
        """Let the connection last for so many seconds from now; None sets no limit."""
        if self._timer is not None:
            self._timer.cancel()
        later = asyncio.get_running_loop().call_later
        self._timer = None if seconds is None else later(seconds, self.abort)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request at all; strangers send such things, so it is not logged."""
        del request, message
        # A visitor who leaves before the answer is no fault of anybody.
        if status >= _OUR_FAULT and not isinstance(exc, ConnectionError):
            log.error("web.fault", path="", exc_info=exc)
        said = "this failed by a fault of hyperdrift" if status >= _OUR_FAULT else "no request"
        answer = web.Response(status=status, text=f"{said}\n", headers=STRICT)
        answer.force_close()
        return answer

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()


def connection_of(request: web.BaseRequest) -> BoundedConnection:
    """Return the connection of a request."""
    assert isinstance(request.protocol, BoundedConnection)
    return request.protocol
