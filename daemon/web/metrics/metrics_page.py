"""The path of the metrics; whoever may read the pages may read it."""

from aiohttp import web

from daemon.web.metrics.exposition import Exporter


class MetricsPage:
    """The handler of scrapes.

    Args:
        exporter: Makes the answer.
    """

    def __init__(self, exporter: Exporter) -> None:
        self._exporter = exporter

    def routes(self) -> list[web.RouteDef]:
        """Return the path."""
        return [web.get("/metrics", self._answer)]

    async def run(self) -> None:
        """Measure what is measured between scrapes, until cancelled."""
        await self._exporter.run()

    async def _answer(self, request: web.Request) -> web.Response:
        body, content_type = await self._exporter.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})
