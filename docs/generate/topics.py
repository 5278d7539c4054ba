"""The page of the topics: who says what to whom, field by field."""

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Final, get_type_hints

import msgspec

from docs.generate.markdown import code, table, type_name, value
from docs.generate.source import doc, field_texts, path_of
from hyperdrift.mqtt.topics import Topics

_HEAD: Final = """# Topics and payloads

JSON in UTF-8, QoS 1, MQTT 3.1.1 or 5. Times are integer milliseconds, UTC. `hyperdrift` is
`[mqtt] prefix`, `<slot>` is written `BTC-5m`. Readers ignore unknown fields. A malformed message
is logged once (`bus.malformed`) and stops nothing.
"""
_MODULES: Final = (
    "hyperdrift.mqtt.messages",
    "hyperdrift.mqtt.fetch_messages",
    "daemon.mqtt.messages",
    "daemon.mqtt.retrain_messages",
)
_EVENT: Final = """### Payload

`kind`, `at_ms`, `text` and the fields of that kind: see [events](events.md).
"""


def page() -> str:
    """Return the page."""
    messages = list(_messages())
    topics = dict(_topics())
    parts = [_HEAD, table(("topic", "what"), ((code(t), what) for t, what in topics.items()))]
    shown: set[type] = set()
    for topic, what in topics.items():
        parts.append(f"## `{topic}`\n\n{what}\n")
        if topic.endswith("/event"):
            parts.append(_EVENT)
            continue
        short = topic.removeprefix("hyperdrift/")
        payload = next((kind for kind in messages if _topic_of(kind) == short), None)
        if payload is None:
            raise LookupError(f"no message's docstring begins with `{short}`")
        parts += _payloads(payload, messages, shown)
    return "\n".join(parts)


def _topics() -> Iterator[tuple[str, str]]:
    """Yield each topic with its description, in the order of the source."""
    topics, slot = Topics(), "<slot>"
    for name, member in vars(Topics).items():
        if isinstance(member, property):
            yield getattr(topics, name), doc(member)
        elif inspect.isfunction(member) and list(inspect.signature(member).parameters)[1:2] == [
            "slot"
        ]:
            topic = getattr(topics, name)(slot, *_more(member))
            if isinstance(topic, str):  # else they are filters
                yield topic, doc(member)


def _more(member: Any) -> list[str]:
    return [f"<{name}>" for name in list(inspect.signature(member).parameters)[2:]]


def _messages() -> Iterator[type]:
    for name in _MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == name and _fields(kind):
                yield kind


def _topic_of(kind: type) -> str:
    found = re.match(r"`([^`]+)`:", doc(kind))
    return found[1] if found else ""


def _payloads(kind: type, messages: list[type], shown: set[type]) -> list[str]:
    """Return a payload and those inside it, each once on the page."""
    if kind in shown:
        return []
    shown.add(kind)
    hints, texts = get_type_hints(kind, include_extras=True), field_texts(kind)
    rows = [
        (code(name), type_name(hints[name]), default, _text(kind, name, texts))
        for name, default in _fields(kind)
    ]
    text = re.sub(r"^`[^`]+`: ", "", " ".join(doc(kind).split()))
    part = f"### `{kind.__name__}`\n\n{text[0].upper()}{text[1:]} Defined in `{path_of(kind)}`.\n\n"
    parts = [part + table(("field", "type", "default", "what"), rows)]
    names = " ".join(row[1] for row in rows)
    for inner in messages:
        if f"`{inner.__name__}`" in names:
            parts += _payloads(inner, messages, shown)
    return parts


def _text(kind: type, name: str, texts: dict[str, str]) -> str:
    if name not in texts:
        raise LookupError(f"{kind.__name__}.{name} has no description: write one beside it")
    return texts[name]


def _fields(kind: Any) -> list[tuple[str, str]]:
    """Return the fields of a struct or dataclass and their defaults, as JSON has them."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        found = msgspec.structs.fields(kind)
        missing = msgspec.NODEFAULT
        return [(f.name, _default(f.default, f.default_factory, missing)) for f in found]
    if is_dataclass(kind):
        import dataclasses  # noqa: PLC0415

        return [
            (f.name, _default(f.default, f.default_factory, dataclasses.MISSING))
            for f in dataclasses.fields(kind)
        ]
    return []


def _default(default: Any, factory: Any, missing: Any) -> str:
    if factory is not missing:
        return code(value(factory()))
    return "needed" if default is missing else code(value(default))
