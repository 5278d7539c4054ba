"""An order from the page goes the way of a command over MQTT, and its answer comes back."""

from pathlib import Path
from typing import Any

import pytest

from daemon.web.server import orders
from tests.daemon.web.server.visitors import BTC, LIVE_ID, Visitor, a_page

COMMANDS = "/api/v1/slots/BTC-5m/commands"


async def test_a_form_gives_an_order_and_the_next_page_says_what_became_of_it(
    tmp_path: Path,
) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        form = {"csrf": await visitor.sign_in(), "reason": "a new fee", "model_id": LIVE_ID}
        async with visitor.post("/slots/BTC-5m/promote", data=form | {"by": "Ann"}) as answer:
            assert answer.url.path == "/slots/BTC-5m"
            assert "promote accepted: as you say" in await answer.text()
        async with visitor.get("/slots/BTC-5m") as answer:
            assert "as you say" not in await answer.text()  # once
        ((slot, command, by),) = place.commands.taken
        assert (slot, by) == (BTC, "Ann, web (127.0.0.1)")
        assert (command.command, command.reason) == ("promote", "a new fee")
        assert command.model_id == LIVE_ID


async def test_a_program_gives_an_order_with_the_token(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        order = {"command": "retrain", "reason": "r", "by": "cron"}
        async with visitor.post(COMMANDS, json=order) as answer:
            assert answer.status == 401
        place.commands.accepts = False
        async with visitor.post(COMMANDS, json=order, headers=place.bearer) as answer:
            said = await answer.json()
        assert (said["accepted"], said["detail"]) == (False, "as you say")
        assert said["request_id"] == place.commands.taken[0][1].request_id
        signed = order | {"request_id": "r1", "issued_ms": 1, "signature": "s", "slot": "BTC-5m"}
        async with visitor.post(COMMANDS, json=signed, headers=place.bearer) as answer:
            assert (await answer.json())["request_id"] == "r1"
        assert (len(place.commands.taken), len(place.commands.signed)) == (1, 1)


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"reason": ""}, 400, "no reason"),
        ({"reason": "  "}, 400, "no reason"),
        ({"reason": "a\nb"}, 400, "control characters"),
        ({"reason": "a\x1b[31m"}, 400, "control characters"),
        ({"reason": "a\u202eb"}, 400, "control characters"),
        ({"reason": "x" * 501}, 400, "500"),
        ({"by": "x" * 41}, 400, "40"),
        ({"by": "a\x07"}, 400, "control characters"),
        ({"model_id": "../../etc"}, 404, "BTC-5m has no version"),
        ({"command": "destroy"}, 400, "command"),
        ({"command": 3}, 400, "command"),
    ],
)
async def test_an_order_that_cannot_be_journalled_is_refused(
    tmp_path: Path, changed: dict[str, Any], status: int, said: str
) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        order = {"command": "pause", "reason": "r"} | changed
        async with visitor.post(COMMANDS, json=order, headers=place.bearer) as answer:
            problem = await answer.json()
            assert answer.status == status
            assert said in problem["error"] + problem["what_to_do"]
        if "command" not in changed:
            form = {"csrf": await visitor.sign_in()} | order
            async with visitor.post("/slots/BTC-5m/pause", data=form) as answer:
                assert answer.status == status
        assert place.commands.taken == []


async def test_a_form_of_no_session_or_of_another_one_gives_no_order(tmp_path: Path) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor, Visitor(place) as other:
        form = {"reason": "r", "csrf": await other.sign_in()}
        async with visitor.post("/slots/BTC-5m/pause", data=form) as answer:
            assert answer.status == 403
        await visitor.sign_in()
        async with visitor.post("/slots/BTC-5m/pause", data=form) as answer:
            assert answer.status == 403
        async with visitor.post("/slots/BTC-5m/pause", data=form, headers=place.bearer) as answer:
            assert answer.status == 403  # the token alone is no form of ours
        for path in ("/slots/SOL-5m/pause", "/slots/BTC-5m/destroy", "/slots/BTC-5m"):
            mine = form | {"csrf": await visitor.sign_in()}
            async with visitor.post(path, data=mine) as answer:
                assert answer.status in {404, 405}
        assert place.commands.taken == []


async def test_too_many_orders_are_refused_and_what_gets_no_answer_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "ANSWER_S", 0.01)
    order = {"command": "pause", "reason": "r"}
    async with a_page(tmp_path, rate=1) as place, Visitor(place) as visitor:
        place.commands.accepts = None
        for attempt in range(11):
            async with visitor.post(COMMANDS, json=order, headers=place.bearer) as answer:
                said = await answer.json()
                assert answer.status == (202 if attempt < 10 else 429)
                assert attempt == 10 or said["accepted"] is None
        assert place.commands.announcements._awaited == {}
