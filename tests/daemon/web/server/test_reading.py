"""A request's query is read with care, the same for a page and for the API."""

from pathlib import Path

import pytest

from tests.daemon.web.server.visitors import BTC, Visitor, a_page


async def test_the_journal_is_asked_for_by_the_filters_of_the_query(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        query = "slot=BTC-5m&kind=alert&kind=drift&since_ms=5&before=9&limit=7"
        for path in (
            f"/journal?{query}",
            f"/api/v1/journal?{query}",
            f"/api/v1/slots/BTC-5m/journal?{query.replace('BTC-5m', 'ETH-1h')}",
            "/journal?slot=&kind=&since_ms=&before=",
        ):
            async with visitor.get(path) as answer:
                assert answer.status == 200
        whole = (BTC, ("alert", "drift"), 5, 9, 7)
        assert place.data.asked == [whole, whole, whole, (None, (), None, None, 100)]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=-1", "limit=x", "before=1e3", "since_ms=\u0663"),
        *(f"limit={'9' * 5000}", "slot=SOL-5m", "since_ms=99999999999999999999"),
    ],
)
async def test_a_query_that_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        async with visitor.get(f"/api/v1/journal?{query}") as answer:
            assert answer.status in {400, 404}
            assert len(await answer.text()) < 300
        assert place.data.asked == []
