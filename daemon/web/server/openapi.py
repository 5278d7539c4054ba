"""Describe the API in OpenAPI 3.1, from the types that it answers with."""

import functools
import inspect
import re
from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from daemon.web.server.answers import BASE
from daemon.web.server.orders import Order
from daemon.web.views import (
    FeedView,
    JournalView,
    OrderAnswer,
    Overview,
    Problem,
    SlotView,
    VersionView,
    View,
)

_REF: Final = "#/components/schemas/{name}"
# Four spaces, a name and what it is; the lines that go on have more.
_FIELD: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_INTEGER: Final = {"type": "integer", "minimum": 0}


class Call(NamedTuple):
    """One thing that a program can ask for.

    Attributes:
        path: Its path, below the version of the API.
        answer: What the answer is.
        says: What it is, in one sentence.
        filters: Query -> its schema and what it means.
        order: Whether it is an order, with a body.
    """

    path: str
    answer: type[View]
    says: str
    filters: Mapping[str, tuple[dict[str, Any], str]] = MappingProxyType({})
    order: bool = False


_WHICH: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "kind": (
        {"type": "array", "items": {"type": "string"}},
        "Only entries of this kind; may be given again. None: all but the scores of bars.",
    ),
    "since_ms": (_INTEGER, "Only entries from this time on, ms UTC."),
    "before": (_INTEGER, "Only entries before this `seq`: the next page is at `older`."),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 200}, "At most so many; 100."),
}
CALLS: Final = (
    Call("/overview", Overview, "Whether the daemon lives, and every slot, the most urgent first."),
    Call("/slots/{slot}", SlotView, "One slot: its state, what it earns, its versions and bots."),
    Call(
        "/slots/{slot}/versions/{model_id}",
        VersionView,
        "One version: its gates, its figures, why it was trained.",
    ),
    Call("/slots/{slot}/journal", JournalView, "What happened to a slot, newest first.", _WHICH),
    Call(
        "/journal",
        JournalView,
        "What happened, newest first.",
        {"slot": ({"type": "string"}, "Only entries of this slot."), **_WHICH},
    ),
    Call("/feed", FeedView, "The connections to the venue, and the bars of each slot."),
    Call(
        "/slots/{slot}/commands",
        OrderAnswer,
        "Give an order: retrain, rollback, promote, pause or resume. It takes the token.",
        order=True,
    ),
)


@functools.cache
def document() -> bytes:
    """Return the description as JSON."""
    types = [Problem, Order, *dict.fromkeys(call.answer for call in CALLS)]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    for schema in schemas.values():
        _describe_fields(schema)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "hyperdrift",
            "version": version("hyperdrift"),
            "description": "What the pages show, and orders to the daemon. Times are ms UTC.",
        },
        "servers": [{"url": BASE}],
        "security": [{}, {"token": []}],
        "paths": {call.path: _path(call) for call in CALLS},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(described)


def _describe_fields(schema: dict[str, Any]) -> None:
    """Move what a docstring says of a field to that field."""
    text, _, listed = inspect.cleandoc(schema.get("description", "")).partition("Attributes:\n")
    schema["description"] = text.strip()
    for name, says in _FIELD.findall(listed):
        schema["properties"][name]["description"] = " ".join(says.split())


def _path(call: Call) -> dict[str, Any]:
    named = [part.strip("{}") for part in call.path.split("/") if part.startswith("{")]
    parameters = [
        *(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in named
        ),
        *(
            {"name": name, "in": "query", "schema": schema, "description": says}
            for name, (schema, says) in call.filters.items()
        ),
    ]
    answers = {
        "200": _content("The answer.", call.answer),
        "default": _content("Why not.", Problem),
    }
    operation: dict[str, Any] = {
        "summary": call.says,
        "parameters": parameters,
        "responses": answers,
    }
    if not call.order:
        return {"get": operation}
    operation["security"] = [{"token": []}]
    operation["requestBody"] = {"required": True, **_content("The order.", Order)}
    answers["202"] = _content("Taken, and not answered in time.", call.answer)
    return {"post": operation}


def _content(says: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    reference = {"$ref": _REF.format(name=kind.__name__)}
    return {"description": says, "content": {"application/json": {"schema": reference}}}
