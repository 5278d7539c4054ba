"""Say of a configuration that does not fit: which key, what is wrong, what to write.

The library that reads it into types knows the place and the type that it wanted, in its
own words. A person wants those of the file that they wrote.
"""

import difflib
import re
from typing import Any, Final

from daemon.config.schema import Config, SlotSection

_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": 'a list, like ["a", "b"]',
    "object": "it as a section of its own, in [brackets]",
}
_BOUNDS: Final = {
    "": "",
    ">=": " of at least {}",
    "<=": " of at most {}",
    ">": " above {}",
    "of length >=": ", not empty",
}


def explain(error: str, raw: dict[str, Any]) -> str:
    """Turn the library's message into: which key, what is wrong, what to write.

    Args:
        error: What it says of `raw`.
        raw: The content of the file.
    """
    what, _, place = error.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.+?)`", what):
        return _unknown(unknown[1], path)
    if missing := re.search(r"missing required field `(.+?)`", what):
        return f'{_section(path)} has no {missing[1]}; write one, like {missing[1]} = "BTC"'
    if path == "slots" and not isinstance(raw["slots"], list):
        return "write [[slots]], in two brackets, above the keys of each slot"
    path = _of_table(path, raw)
    name = re.sub(r"slots\[(\d+)\]\.?", lambda n: f"[[slots]] number {int(n[1]) + 1}: ", path)
    return f"{name} is {_shown(_lookup(raw, path))}; write {_wanted(what)}"


def _unknown(key: str, path: str) -> str:
    near = difflib.get_close_matches(key, _known_keys(path), n=1)
    listing = f"the settings here are {', '.join(sorted(_known_keys(path)))}"
    hint = f"did you mean {near[0]!r}?" if near else listing
    return f"{_section(path)} {key!r} is not a setting; {hint}".strip()


def _section(path: str) -> str:
    if path.startswith("slots["):
        return "[[slots]]"
    return f"[{path}]" if path else ""


def _wanted(what: str) -> str:
    """Say in a person's words what the library expected."""
    found = re.match(r"Expected `(.+?)`(?: (of length >=|>=|<=|>) ([-\d.]+))?", what)
    if found is None:
        return f"something else ({what})"
    types = sorted(set(found[1].split(" | ")) - {"null"}, key=list(_WORDS).index)
    words = ", or ".join(_WORDS[kind] for kind in types)
    bound = _BOUNDS[found[2] or ""].format((found[3] or "").removesuffix(".0"))
    return words + bound


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _of_table(path: str, raw: dict[str, Any]) -> str:
    """Name the key of a free table, of which the library says only that it is in there."""
    name = path.removesuffix("[...]")
    table = _lookup(raw, name)
    if name == path or not isinstance(table, dict):
        return path
    fits = {"policy": {bool, int, float}, "gates": {int, float}}.get(name, {str})
    return next((f"{name}.{key}" for key in table if type(table[key]) not in fits), name)


def _known_keys(section: str) -> tuple[str, ...]:
    name = section.partition("[")[0].partition(".")[0]
    struct: Any = {"": Config, "slots": SlotSection}.get(name)
    if struct is None:
        struct = type(getattr(Config(), name))
    return tuple(struct.__struct_fields__)


def _lookup(raw: Any, path: str) -> object:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
    return raw
