from pathlib import Path

from daemon.web.metrics.exposition import Exporter
from daemon.web.metrics.loop_delay import LoopDelay
from daemon.web.metrics.metrics_page import MetricsPage
from tests.daemon.web.metrics.readings import busy_tally, reading
from tests.daemon.web.server.visitors import Visitor, a_page
from tests.fakes import FakeClock


def page(folder: Path) -> MetricsPage:
    found = reading("BTC-5m")
    store = folder / "store.db"
    return MetricsPage(Exporter(lambda: found, store, busy_tally("BTC-5m"), LoopDelay(FakeClock())))


async def test_whoever_may_read_the_pages_may_scrape(tmp_path: Path) -> None:
    async with a_page(tmp_path, (page(tmp_path),)) as place, Visitor(place) as visitor:
        async with visitor.get("/metrics") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert "hyperdrift_ready 1.0" in await answer.text()
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with visitor.get("/metrics", headers=accept) as answer:
            assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await answer.text()).endswith("# EOF\n")


async def test_where_reading_takes_the_token_a_scrape_takes_it_too(tmp_path: Path) -> None:
    async with (
        a_page(tmp_path, (page(tmp_path),), proxy=True) as place,
        Visitor(place) as visitor,
    ):
        async with visitor.get("/metrics") as answer:
            assert answer.status == 401
            assert "hyperdrift_" not in await answer.text()
        async with visitor.get("/metrics", headers=place.bearer) as answer:
            assert answer.status == 200
