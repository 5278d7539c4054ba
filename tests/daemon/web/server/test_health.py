"""Programs that look after processes are told whether the daemon lives and whether it is ready."""

from pathlib import Path

from tests.daemon.web.server.visitors import Visitor, a_page


async def test_a_daemon_that_starts_lives_and_is_not_ready(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        place.not_ready = "waiting for the venue"
        for path, status, text in (
            ("/healthz", 200, "ok\n"),
            ("/readyz", 503, "waiting for the venue\n"),
        ):
            async with visitor.get(path) as answer:
                assert (answer.status, await answer.text()) == (status, text)
        place.not_ready = ""
        async with visitor.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (200, "ready\n")
