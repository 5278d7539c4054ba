"""Whatever goes wrong with an answer, the visitor is told in one sentence what to do."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.store.database import StoreUnavailable
from daemon.web.server import visits
from daemon.web.server.headers import STRICT
from hyperdrift.errors import BadInput, HyperdriftError
from tests.daemon.web.server.visitors import Visitor, a_page


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (StoreUnavailable("the disk is full"), 503, "the disk is full"),
        (BadInput("this is wrong"), 400, "this is wrong"),
        (HyperdriftError("it failed"), 500, "it failed"),
        (ZeroDivisionError("secret"), 500, "a fault of hyperdrift"),
    ],
)
async def test_an_error_of_the_data_is_told_in_one_sentence(
    tmp_path: Path, error: Exception, status: int, said: str
) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        place.data.fails = error
        with capture_logs() as lines:
            for path, headers in (("/", {"Accept": "text/html"}), ("/api/v1/overview", {})):
                async with visitor.get(path, headers=headers) as answer:
                    text = await answer.text()
                    assert answer.status == status
                    assert said in text
                    assert "secret" not in text
        expected = ["web.fault"] * 2 if isinstance(error, ZeroDivisionError) else []
        assert [line["event"] for line in lines] == expected


async def test_an_answer_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visits, "ANSWER_S", 0.01)
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        place.data.waits = asyncio.Event()
        async with visitor.get("/") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "60")


@pytest.mark.parametrize(
    "path", ["/", "/feed", "/api/v1/overview", "/healthz", "/sign-in", "/nothing", "/slots/x"]
)
async def test_every_answer_has_strict_headers(tmp_path: Path, path: str) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        for method in (visitor.get, visitor.post):
            async with method(path) as answer:
                assert {name: answer.headers[name] for name in STRICT} == STRICT
                assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_what_there_is_not_is_told_to_people_and_to_programs(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        for path, said in (
            ("/slots/BTC-5mm", "did you mean 'BTC-5m'?"),
            ("/api/v1/slots/zzz", "this daemon has BTC-5m, ETH-1h"),
            ("/slots/BTC-5m/versions/none", "hyperdrift models list"),
            ("/slots/%3Cscript%3E/versions/..%2f..", "this daemon has"),
        ):
            async with visitor.get(path) as answer:
                assert answer.status == 404
                problem = await answer.json()
                assert said in problem["what_to_do"]
                assert set(problem) == {"status", "error", "what_to_do"}
            async with visitor.get(path, headers={"Accept": "text/html"}) as answer:
                kind = "application/json" if path.startswith("/api/") else "text/html"
                assert (answer.status, answer.content_type) == (404, kind)
                assert "<script>" not in await answer.text()
