"""Explain a configuration error: which key, what is wrong, what to write.

msgspec names the place and the type that it wanted in its own terms. This module says the same
in the terms of the file.
"""

import re
from typing import Any, Final

from daemon.config.schema import AS_WRITTEN, Config
from daemon.config.slot_entries import SlotEntry
from daemon.core.msgspec_errors import Misfit, read_misfit
from daemon.core.outside_text import printable
from daemon.core.suggestions import did_you_mean

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
    misfit = read_misfit(error)
    path = misfit.path
    if misfit.unknown:
        return _unknown(misfit.unknown, path)
    if lacking := misfit.missing:
        return f'{_section(path)} has no {lacking}; write one, like {lacking} = "BTC"'
    if path == "slots" and not isinstance(raw["slots"], list):
        return "write [[slots]], in two brackets, above the keys of each slot"
    path = _of_table(path, raw)
    name = re.sub(r"slots\[(\d+)\]\.?", lambda n: f"[[slots]] number {int(n[1]) + 1}: ", path)
    if path.startswith("notify.urls"):  # most addresses hold a secret
        return f"{name} is something else; write {_wanted(misfit)}"
    return f"{name} is {shown(_lookup(raw, path))}; write {_wanted(misfit)}"


def _unknown(key: str, path: str) -> str:
    listing = f"the settings here are {', '.join(sorted(_known_keys(path)))}"
    hint = did_you_mean(key, _known_keys(path), listing)
    return f"{_section(path)} {key!r} is not a setting; {hint}".strip()


def _section(path: str) -> str:
    if path.startswith("slots["):
        return "[[slots]]"
    return f"[{path}]" if path else ""


def _wanted(misfit: Misfit) -> str:
    """Say in a person's words what the library expected."""
    if not misfit.expected:
        return f"something else ({misfit.what})"
    types = sorted(set(misfit.expected) - {"null"}, key=list(_WORDS).index)
    words = ", or ".join(_WORDS[kind] for kind in types)
    return words + _BOUNDS[misfit.relation].format(misfit.bound.removesuffix(".0"))


def shown(value: object) -> str:
    """Return a value as a person wrote it."""
    return str(value).lower() if isinstance(value, bool) else printable(repr(value))


def _of_table(path: str, raw: dict[str, Any]) -> str:
    """Name the key of a free table, of which the library says only that it is in there."""
    name = path.removesuffix("[...]")
    table = _lookup(raw, name)
    if name == path or not isinstance(table, dict):
        return path
    fits = {"policy": {bool, int, float}, "gates": {bool, int, float, str}}.get(name, {str})
    return next((f"{name}.{key}" for key in table if type(table[key]) not in fits), name)


def _known_keys(section: str) -> tuple[str, ...]:
    name = section.partition("[")[0].partition(".")[0]
    struct: Any = {"": Config, "slots": SlotEntry}.get(name)
    if struct is None:
        struct = type(getattr(Config(), name))
    return tuple(key for key in struct.__struct_encode_fields__ if key != AS_WRITTEN)


def _lookup(raw: Any, path: str) -> object:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
    return raw
