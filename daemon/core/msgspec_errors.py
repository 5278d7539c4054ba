"""Read msgspec's sentence about a value that does not fit: msgspec has no fields for it."""

import re
from typing import NamedTuple


class Misfit(NamedTuple):
    """What msgspec says of a value.

    Attributes:
        what: Its sentence, without the place.
        path: The place, like `slots[0].coin`; empty for the whole.
        unknown: The key that is not known there, or empty.
        missing: The key that is lacking there, or empty.
        expected: The types that fit, in msgspec's names; empty if it is about something else.
        relation: How a value must stand to `bound`, like `>=`, or empty.
        bound: The limit as msgspec writes it, or empty.
    """

    what: str
    path: str
    unknown: str = ""
    missing: str = ""
    expected: tuple[str, ...] = ()
    relation: str = ""
    bound: str = ""


def read_misfit(error: str) -> Misfit:
    """Take the text of a `msgspec.ValidationError` apart."""
    what, _, place = error.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.+?)`", what):
        return Misfit(what, path, unknown=unknown[1])
    if missing := re.search(r"missing required field `(.+?)`", what):
        return Misfit(what, path, missing=missing[1])
    found = re.match(r"Expected `(.+?)`(?: (of length >=|>=|<=|>) ([-\d.]+))?", what)
    if found is None:
        return Misfit(what, path)
    kinds = tuple(found[1].split(" | "))
    return Misfit(what, path, expected=kinds, relation=found[2] or "", bound=found[3] or "")
