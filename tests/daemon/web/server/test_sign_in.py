"""An operator signs in by the token, and out; nobody guesses it."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.daemon.web.server.visitors import Visitor, a_page


async def test_the_token_opens_a_session_that_signing_out_ends(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        csrf = await visitor.sign_in()
        (cookie,) = visitor.cookie_jar
        assert cookie.key == f"hyperdrift_{place.config.web.place[1]}"
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", "")
        async with visitor.post("/sign-out", data={"csrf": "x"}) as answer:
            assert answer.status == 403
        async with visitor.post("/sign-out", data={"csrf": csrf}, allow_redirects=False) as answer:
            assert answer.status == 303
        visitor.cookie_jar.update_cookies({cookie.key: cookie.value}, answer.url)
        form = {"csrf": csrf, "reason": "r"}
        async with visitor.post("/slots/BTC-5m/pause", data=form) as answer:
            assert answer.status == 403
        assert place.commands.taken == []


async def test_wrong_tokens_are_told_of_once_and_keep_nobody_out_who_has_the_right_one(
    tmp_path: Path,
) -> None:
    async with a_page(tmp_path, rate=1) as place, Visitor(place) as visitor:
        with capture_logs() as lines:
            for attempt in range(12):
                async with visitor.post("/sign-in", data={"token": "guess"}) as answer:
                    assert answer.status == (403 if attempt < 10 else 429), attempt
                    assert "token" in await answer.text()
        assert [line["event"] for line in lines] == ["web.token_refused"]
        async with visitor.get("/", headers={"Authorization": "Bearer guess"}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
        async with visitor.get("/", headers=place.bearer) as answer:
            assert answer.status == 200
        await visitor.sign_in()


@pytest.mark.parametrize("to", ["//evil.example", "/\\evil.example", "http://evil.example", ""])
async def test_signing_in_leads_to_no_other_site(tmp_path: Path, to: str) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        form = {"token": place.token, "to": to}
        async with visitor.post("/sign-in", data=form, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/"


async def test_a_new_token_ends_every_session_and_the_old_one_opens_nothing(
    tmp_path: Path,
) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        csrf, old = await visitor.sign_in(), place.bearer
        new = place.site._token.replace()
        assert place.bearer == {"Authorization": f"Bearer {new}"}
        form = {"csrf": csrf, "reason": "r"}
        while place.site._admission.sessions._open:
            async with visitor.get("/healthz"):
                pass
        async with visitor.post("/slots/BTC-5m/pause", data=form) as answer:
            assert answer.status == 403
        async with visitor.get("/", headers=old) as answer:
            assert answer.status == 401
        async with visitor.get("/", headers=place.bearer) as answer:
            assert answer.status == 200


async def test_a_form_that_is_none_or_huge_is_refused(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        for body, kind, status in (
            (b"{}", "application/json", 415),
            (b"token=%ff", "application/x-www-form-urlencoded", 400),
            (b"a=1&" * 50, "application/x-www-form-urlencoded", 400),
            (b"token=" + b"x" * 100_000, "application/x-www-form-urlencoded", 413),
        ):
            headers = {"Content-Type": kind}
            async with visitor.post("/sign-in", data=body, headers=headers) as answer:
                assert answer.status == status
