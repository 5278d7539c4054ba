"""Pages are whole documents; the report of a version is shown where it can do nothing."""

from pathlib import Path

from tests.daemon.web.server.visitors import LIVE_ID, Visitor, a_page


async def test_every_page_is_there(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        for path in (
            *("/", "/slots/BTC-5m", f"/slots/BTC-5m/versions/{LIVE_ID}", "/feed", "/journal"),
            *("/slots/BTC-5m/journal", "/sign-in"),
        ):
            async with visitor.get(path) as answer:
                assert (answer.status, answer.content_type) == (200, "text/html"), path
                assert "<script" not in await answer.text()


async def test_a_report_is_shown_in_a_sandbox_and_nothing_else_of_its_folder_is(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "models" / "BTC-5m"
    folder.mkdir(parents=True)
    path = f"/slots/BTC-5m/versions/{LIVE_ID}/report"
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        async with visitor.get(path) as answer:
            assert answer.status == 404
        (folder / f"report_{LIVE_ID}.html").write_text("<p>a report</p>")
        async with visitor.get(path) as answer:
            assert (await answer.text(), answer.content_type) == ("<p>a report</p>", "text/html")
            policy = answer.headers["Content-Security-Policy"]
            assert "sandbox" in policy.split("; ")
            assert "script-src" not in policy
        async with visitor.get("/slots/BTC-5m/versions/..%2f..%2fweb%2ftoken/report") as answer:
            assert answer.status == 404


async def test_files_of_the_pages_are_asked_for_again_only_if_they_changed(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        async with visitor.get("/static/page.css") as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
            tag = answer.headers["Etag"]
        async with visitor.get("/static/page.css", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        for path in ("/static/", "/static/..%2frenderer.py", "/static/%2e%2e/renderer.py"):
            async with visitor.get(path) as answer:
                assert answer.status in {403, 404}, path
