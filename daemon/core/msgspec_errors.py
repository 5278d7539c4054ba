"""Parse the text of a `msgspec.ValidationError`, because the error has no fields."""

import re
from typing import NamedTuple


class Misfit(NamedTuple):
    """What msgspec says about a value that does not fit.

    Attributes:
        what: msgspec's sentence, without the path.
        path: Where the value is, like `slots[0].coin`; empty for the whole document.
        unknown: The key that is not known there, or empty.
        missing: The key that is missing there, or empty.
        expected: The types that fit, in msgspec's names; empty if the type is not the fault.
        relation: The relation to `bound` that a value must have, like `>=`, or empty.
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
    """Split the text of a `msgspec.ValidationError` into its parts."""
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
