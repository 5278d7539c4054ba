"""The page of the API: what can be asked for, and every field of the answers."""

import json
from typing import Any, Final

from daemon.web.server.answers import BASE
from daemon.web.server.openapi import CALLS, document
from docs.generate.markdown import code, table

_HEAD: Final = f"""# The API of the status page

JSON, below `{BASE}`, at the address of the [status page](../howto/status-page.md). The pages show
the same data. `{BASE}/openapi.json` is this page for programs, in OpenAPI 3.1. Times are ms UTC,
shares are fractions, amounts after costs are basis points. New fields may come; ignore those that
you do not know.

Reading is open on this host. An order, and reading anywhere else, takes the token of
`hyperdrift web token` as `Authorization: Bearer <token>`. Whatever is not answered is said in
[`Problem`](#problem): what is wrong, and what to do.

"""


def page() -> str:
    """Return the page."""
    described = json.loads(document())
    rows = [
        (
            ("POST " if call.order else "GET ") + code(BASE + call.path),
            _link(call.answer.__name__),
            call.says,
        )
        for call in CALLS
    ]
    text = _HEAD + table(("call", "answer", "what it is"), rows)
    text += "\n## Queries\n\n" + table(("call", "query", "what it means"), _queries())
    for name, schema in sorted(described["components"]["schemas"].items()):
        if "properties" in schema:
            text += _schema(name, schema)
    return text


def _queries() -> list[tuple[str, str, str]]:
    return [
        (code(call.path), code(name), says)
        for call in CALLS
        for name, (_, says) in call.filters.items()
    ]


def _schema(name: str, schema: dict[str, Any]) -> str:
    fields = schema["properties"].items()
    rows = [(code(key), _kind(each), each.get("description", "")) for key, each in fields]
    head = f"\n## {name}\n\n{schema['description']}\n\n"
    return head + table(("field", "type", "what it is"), rows)


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def _kind(schema: dict[str, Any]) -> str:
    """Return a type in words."""
    if reference := schema.get("$ref"):
        return _link(reference.rpartition("/")[2])
    if choices := schema.get("anyOf"):
        return " or ".join(map(_kind, choices))
    if values := schema.get("enum"):
        return ", ".join(code(value) for value in values)
    kind = schema.get("type", "anything")
    if kind == "array":
        items = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {_kind(items)}"
    inner = schema.get("additionalProperties")
    return f"object of {_kind(inner)}" if kind == "object" and inner else str(kind)
