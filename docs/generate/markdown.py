"""Tables of Markdown, and values as a person writes them."""

import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a bar or a line break in a cell does not end the cell."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Return text as code, nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def value(of: Any) -> str:
    """Return a default as it is written in TOML."""
    match of:
        case bool():
            return str(of).lower()
        case str():
            return f'"{of}"'
        case float():
            return repr(of)
        case tuple() | list():
            return f"[{', '.join(map(value, of))}]"
        case dict():
            return "{}"
        case None:
            return "null"
    return str(of)


def type_name(hint: Any) -> str:
    """Return a type in JSON's words: `[number, ...]`, `text or null`."""
    origin, of = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_name(of[0])
    if origin is Literal:
        return " or ".join(f"`{each}`" for each in of)
    if origin in {Union, types.UnionType}:
        return " or ".join(dict.fromkeys(map(type_name, of)))
    if origin in {tuple, list}:
        return f"[{', '.join('...' if each is ... else type_name(each) for each in of)}]"
    if origin is not None and issubclass(origin, dict | types.MappingProxyType):
        return f"{{{type_name(of[0])}: {type_name(of[1])}}}"
    names = {int: "integer", float: "number", str: "text", bool: "true or false", object: "any"}
    return names.get(hint) or ("null" if hint is type(None) else f"`{hint.__name__}`")
