"""Answers that are JSON."""

from typing import Any, Final

import msgspec
from aiohttp import web

BASE: Final = "/api/v1"
"""The path of the API."""


def json_answer(content: Any, status: int = 200) -> web.Response:
    """Answer with JSON."""
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json")
