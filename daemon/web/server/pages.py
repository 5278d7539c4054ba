"""Answer with pages: the data is read, then rendered in a thread."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from daemon.core.clock import VenueClock
from daemon.web.server.answers import json_answer
from daemon.web.server.contract import PageName, Renderer
from daemon.web.server.reading import Read, Reading
from daemon.web.server.visits import Denied, visit_of, wants_page
from daemon.web.views import Problem

# A report is one file with all that it shows; in a sandbox it can do nothing else.
_REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
_WAIT_S: Final = "60"


class Pages:
    """The handlers of the pages.

    Args:
        reading: Reads what they show.
        renderer: Makes HTML of it.
        venue: The clock that pages tell the time by.
        models: The folder of the models, for the reports of versions.
    """

    def __init__(
        self, reading: Reading, renderer: Renderer, venue: VenueClock, models: Path
    ) -> None:
        self._reading, self._renderer = reading, renderer
        self._venue, self._models = venue, models

    def routes(self) -> list[web.RouteDef]:
        """Return the paths of the pages."""
        pages = [web.get(read.page, self._handler(read)) for read in self._reading.all()]
        report = "/slots/{slot}/versions/{model_id}/report"
        return [*pages, web.get(report, self._report)]

    async def show(
        self, request: web.Request, name: PageName, view: Any, status: int = 200
    ) -> web.Response:
        """Answer with a page."""
        session = visit_of(request).session
        notice, csrf = (session.notice, session.csrf) if session else ("", "")
        if session:
            session.notice = ""
        text = await asyncio.to_thread(
            self._renderer.render,
            name,
            view,
            signed_in=session is not None,
            csrf=csrf,
            now_ms=self._venue.now_ms(),
            notice=notice,
            query=dict(request.query),
        )
        return web.Response(text=text, status=status, content_type="text/html")

    async def refuse(self, request: web.Request, problem: Problem) -> web.StreamResponse:
        """Answer with a problem: a page for people, JSON for programs."""
        if wants_page(request):
            answer = await self.show(request, "error", problem, problem.status)
        else:
            answer = json_answer(problem, problem.status)
        if problem.status == 401:  # noqa: PLR2004 - what HTTP demands with it
            answer.headers["WWW-Authenticate"] = "Bearer"
        if problem.status in {429, 503}:
            answer.headers["Retry-After"] = _WAIT_S
        return answer

    def _handler(self, read: Read) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            return await self.show(request, read.name, await read.get(request))

        return answer

    async def _report(self, request: web.Request) -> web.StreamResponse:
        view = await self._reading.version(request)
        path = self._models / view.slot / f"report_{view.line.model_id}.html"
        if not await asyncio.to_thread(path.is_file):
            raise Denied(404, "this version has no report", "look at the page of the version")
        headers = {"Content-Security-Policy": _REPORT_POLICY, "Content-Type": "text/html"}
        return web.FileResponse(path, headers=headers)
