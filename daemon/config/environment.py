"""Let environment variables `HYPERDRIFT_<SECTION>__<KEY>` override the file.

A mistake in a variable is told by the name of the variable: the file does not show it.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from daemon.config.validation_errors import known_keys
from daemon.core.outside_text import printable
from hyperdrift.errors import ConfigError

_PREFIX: Final = "HYPERDRIFT_"


def override(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Put the values of variables into the content of the file.

    Args:
        raw: The content of the file; changed in place.
        environ: The variables of the process.

    Returns:
        The section and the key of each variable that was used.

    Raises:
        ConfigError: If a variable is not UTF-8, or sets what only the file can.
    """
    used = {}
    for name, text in environ.items():
        section, separator, key = name.removeprefix(_PREFIX).lower().partition("__")
        if not name.startswith(_PREFIX) or not separator:
            continue
        if not f"{name}{text}".isascii() and not _is_utf8(name + text):
            raise ConfigError(f"{printable(name)}: is not UTF-8; write it anew")
        table = raw.setdefault(section, {})
        if section == "slots" or not isinstance(table, dict):
            raise ConfigError(f"{name}: [[slots]] is a list; set it in the file")
        table[key] = _value(text)
        used[name] = (section, key)
    return used


def variable_of(problem: str, used: Mapping[str, tuple[str, str]]) -> str | None:
    """Return the variable whose section and key a sentence begins with, None if there is none."""
    for name, place in used.items():
        section, key = map(re.escape, place)
        if re.match(rf"{section}\.{key}\b|\[{section}\] '?{key}\b|'{section}' is not", problem):
            return name
    return None


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Say of variables with one underscore for two that they are not used.

    Args:
        environ: The variables of the process.
    """
    found, sections = [], known_keys("")
    for name in environ:
        section, _, key = name.removeprefix(_PREFIX).lower().partition("_")
        if name.startswith(_PREFIX) and section in sections and key in known_keys(section):
            meant = f"{_PREFIX}{section}__{key}".upper()
            found.append(f"the variable {name} is not used; write {meant}, with two underscores")
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text  # an unquoted string, as in a shell


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
