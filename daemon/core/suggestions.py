"""Suggest known names for a name that does not exist, and list names in a line."""

import difflib
from collections.abc import Iterable
from typing import Final

_SHOWN: Final = 8


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return `did you mean 'x'?` with the nearest known name, or `otherwise` if none is near."""
    near = nearest(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else otherwise


def nearest(name: str, known: Iterable[str], most: int) -> list[str]:
    """Return up to `most` known names that are spelt nearly like `name`, the nearest first.

    Upper and lower case count as equal.
    """
    by_lower = {each.lower(): each for each in known}
    return [by_lower[each] for each in difflib.get_close_matches(name.lower(), by_lower, most)]


def several(names: Iterable[object]) -> str:
    """Return names in a line, and of many only the first and how many more there are."""
    texts = [str(name) for name in names]
    shown = ", ".join(texts[:_SHOWN])
    return shown if len(texts) <= _SHOWN else f"{shown} and {len(texts) - _SHOWN} more"
