"""The description of the API is true: every answer of a real server fits it."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import validate

from daemon.web.server.answers import BASE
from daemon.web.server.openapi import CALLS, document
from daemon.web.server.reading import Reading
from tests.daemon.web.server.visitors import BTC, LIVE_ID, FakeData, Visitor, a_page

SPEC: dict[str, Any] = json.loads(document())


async def check(answer: ClientResponse, path: str) -> Any:
    """Validate an answer against what the description says of its path and status."""
    operation = SPEC["paths"][path]["post" if answer.method == "POST" else "get"]
    said = operation["responses"].get(str(answer.status)) or operation["responses"]["default"]
    assert answer.content_type == "application/json"
    schema = said["content"]["application/json"]["schema"]
    content = await answer.json()
    Draft202012Validator({**schema, "components": SPEC["components"]}).validate(content)
    return content


def test_the_description_is_valid_and_names_every_path() -> None:
    validate(SPEC)
    reads = {read.api for read in Reading(FakeData(), (BTC,)).all()}
    assert {call.path for call in CALLS if not call.order} == reads
    for name, schema in SPEC["components"]["schemas"].items():
        assert schema["description"], name
        assert "Attributes" not in schema["description"], name


@pytest.mark.parametrize("path", [call.path for call in CALLS if not call.order])
async def test_answers_and_problems_fit_their_schemas(tmp_path: Path, path: str) -> None:
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        asked = BASE + path.format(slot="BTC-5m", model_id=LIVE_ID)
        async with visitor.get(asked) as answer:
            assert answer.status == 200
            assert await check(answer, path)
        async with visitor.get(asked, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
            await check(answer, path)
        if "{slot}" in path:
            async with visitor.get(BASE + path.format(slot="SOL-5m", model_id=LIVE_ID)) as answer:
                assert answer.status == 404
                await check(answer, path)


async def test_answers_to_orders_fit_their_schemas(tmp_path: Path) -> None:
    path = "/slots/{slot}/commands"
    asked = BASE + path.format(slot="BTC-5m")
    async with a_page(tmp_path) as place, Visitor(place) as visitor:
        order = {"command": "pause", "reason": "r"}
        for headers, body, status in (
            (place.bearer, order, 200),
            (place.bearer, {}, 400),
            ({}, order, 401),
        ):
            async with visitor.post(asked, json=body, headers=headers) as answer:
                assert answer.status == status
                await check(answer, path)
        async with visitor.get(f"{BASE}/openapi.json") as answer:
            assert await answer.json() == SPEC
