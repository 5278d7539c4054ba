"""A page answers its own host's visitors, and no web site that sends its visitors' browsers."""

from pathlib import Path
from typing import Any

import pytest

from tests.daemon.web.server.visitors import Visitor, a_page
from tests.ports import free_port


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "[::1]:8377"}, 200),
        ({"Host": "bots.example.org"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "10.0.0.1"}, 403),
        ({"Host": "["}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "script"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "empty"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}, 200),
        ({"X-Forwarded-For": "1.2.3.4"}, 403),
        ({"Via": "1.1 a"}, 403),
    ],
)
async def test_only_known_names_and_no_other_site_are_answered(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with a_page(tmp_path, names=("Bots.Example.org",)) as place, Visitor(place) as visitor:
        for path in ("/", "/api/v1/overview", "/healthz", "/nothing"):
            async with visitor.get(path, headers=headers) as answer:
                expected = 404 if status == 200 and path == "/nothing" else status
                assert answer.status == expected, path


async def test_a_form_of_another_site_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        csrf = await visitor.sign_in()
        form = {"csrf": csrf, "reason": "r"}
        ours = {"Origin": place.url.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
        for headers, status in (
            ({"Origin": "http://127.0.0.1:1"}, 403),  # another port of the same host
            ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"}, 403),
            (ours, 303),
        ):
            async with visitor.post(
                "/slots/BTC-5m/pause", data=form, headers=headers, allow_redirects=False
            ) as answer:
                assert answer.status == status
        assert len(place.commands.taken) == 1


async def test_behind_a_proxy_its_word_counts_and_reading_takes_the_token(tmp_path: Path) -> None:
    section: dict[str, Any] = {"proxy": True, "names": ("bots.example.org",)}
    outside = {
        "X-Forwarded-For": "6.6.6.6, 1.2.3.4",
        "X-Forwarded-Host": "bots.example.org",
        "X-Forwarded-Proto": "https",
    }
    async with a_page(tmp_path, **section) as place, Visitor(place, headers=outside) as visitor:
        async with visitor.get("/api/v1/overview") as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        html = {"Accept": "text/html"}
        async with visitor.get("/feed?x=1", headers=html, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?to=/feed?x%3D1")
        for free in ("/healthz", "/readyz", "/sign-in"):
            async with visitor.get(free) as answer:
                assert answer.status == 200
        place.not_ready = "the disk of /secret is full"
        for headers, said in (({}, "not ready"), (place.bearer, place.not_ready)):
            async with visitor.get("/readyz", headers=headers) as answer:
                assert (answer.status, await answer.text()) == (503, f"{said}\n")
        async with visitor.get("/", headers={"X-Forwarded-Host": "evil.example"}) as answer:
            assert answer.status == 403
        async with visitor.get("/api/v1/overview", headers=place.bearer) as answer:
            assert answer.status == 200
        order = {"command": "pause", "reason": "r"}
        path = "/api/v1/slots/BTC-5m/commands"
        async with visitor.post(path, json=order, headers=place.bearer) as answer:
            assert answer.status == 200
        assert place.commands.taken[0][2] == "web (1.2.3.4)"
        form = {"token": place.token}
        async with visitor.post("/sign-in", data=form, allow_redirects=False) as answer:
            assert "Secure" in answer.headers["Set-Cookie"]


async def test_on_any_address_every_address_is_a_name_and_no_other_name_is(tmp_path: Path) -> None:
    listen = f"0.0.0.0:{free_port()}"
    async with a_page(tmp_path, proxy=True, listen=listen) as place, Visitor(place) as visitor:
        for host, status in (("10.1.2.3:80", 200), ("evil.example", 403), ("localhost", 200)):
            async with visitor.get("/healthz", headers={"Host": host}) as answer:
                assert answer.status == status
