"""Explain a configuration error: which key, what is wrong, what to write.

msgspec names the place and the type that it wanted in its own terms. This module says the same
in the terms of the file.
"""

import re
from dataclasses import fields
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
_KINDS: Final[dict[type, str]] = {str: "text", list: "a list", dict: "a section", bool: "a switch"}
_NUMBER: Final = re.compile(r"[-+]?[\d_]+(\.\d*)?")
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
        return unknown(path, misfit.unknown)
    if lacking := misfit.missing:
        return f'{_section(path)} has no {lacking}; write one, like {lacking} = "BTC"'
    if path == "slots" and not isinstance(raw["slots"], list):
        return "write [[slots]], in two brackets, above the keys of each slot"
    path = _of_table(path, raw)
    name = re.sub(r"slots\[(\d+)\]\.?", lambda n: f"[[slots]] number {int(n[1]) + 1}: ", path)
    value, wanted = _lookup(raw, path), _wanted(misfit)
    if path.startswith("notify.urls"):  # most addresses hold a secret
        return f"{name} is {_KINDS.get(type(value), 'a number')}; write {wanted}"
    if isinstance(value, str) and _NUMBER.fullmatch(value) and "number" in wanted:
        wanted += ", without quotes"
    return f"{name} is {shown(value)}; write {wanted}"


def unknown(section: str, key: str) -> str:
    """Say that a section has no such key, and which key was meant, or where it belongs.

    Args:
        section: The section, "" for none.
        key: The key as it was written.
    """
    known = known_keys(section)
    if others := [f"[{name}]" for name in known_keys("") if key in known_keys(name)]:
        hint = f"it belongs to {' or '.join(others)}"
    else:
        hint = did_you_mean(key, known, f"the settings here are {', '.join(sorted(known))}")
    return f"{_section(section)} {key!r} is not a setting; {hint}".strip()


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
    return next((f"{name}.{key}" for key in table if type(table[key]) is not str), name)


def known_keys(section: str) -> tuple[str, ...]:
    """Return the names of the settings of a section; of "" the sections."""
    name = section.partition("[")[0].partition(".")[0]
    if name in {"policy", "gates"}:
        return _settings_of(name)
    struct: Any = {"": Config, "slots": SlotEntry}.get(name)
    if struct is None:
        struct = type(getattr(Config(), name))
    return tuple(key for key in struct.__struct_encode_fields__ if key != AS_WRITTEN)


def _settings_of(section: str) -> tuple[str, ...]:
    from monitor.policy import PolicySettings  # noqa: PLC0415 - heavy, and needed for errors only
    from retrain.judging.gate_limits import GateLimits  # noqa: PLC0415

    return tuple(f.name for f in fields(PolicySettings if section == "policy" else GateLimits))


def _lookup(raw: Any, path: str) -> object:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and part.isdigit() and int(part) < len(raw):
            raw = raw[int(part)]
    return raw
