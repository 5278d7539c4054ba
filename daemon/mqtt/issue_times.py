"""Say what is wrong with the `issued_ms` of a command that somebody wrote in a shell.

Shells have no milliseconds: `date` of busybox and macOS knows no `%3N`, and other programs give
seconds or fractions. A refusal that only says "stale" or "malformed" leaves a person guessing.
"""

import re
from typing import Final

from daemon.core.outside_text import printable
from hyperdrift.slot_name import DAY_MS

REMEDY: Final = "write `$(date +%s)000` in a shell, or use `hyperdrift command`"
# The longest value that is looked at; a time is shorter.
_VALUE: Final = re.compile(rb'"issued_ms"\s*:\s*("[^"]{0,80}"|[^,}\s]{0,80})')
_REQUEST: Final = re.compile(rb'"request_id"\s*:\s*"([^"\\]{1,80})"')
_NO_MILLISECONDS: Final = re.compile(r'"?\d+%?3?N"?')
# Unit of a time -> how many of it are a millisecond.
_UNITS: Final = {"seconds": 1e-3, "microseconds": 1e3, "nanoseconds": 1e6}
_QUOTED: Final = 40


def fault(payload: bytes, now_ms: int) -> str:
    """Return what is wrong with the `issued_ms` of a command that cannot be read.

    Args:
        payload: The whole message, perhaps no JSON.
        now_ms: The time here, ms UTC.

    Returns:
        A sentence that says what to write; "" if the fault is another one.
    """
    found = _VALUE.search(payload)
    if found is None:
        return ""
    text = found[1].decode(errors="replace")
    shown = f"issued_ms is {printable(text, _QUOTED)}"
    if not text:
        return f"issued_ms is empty: {REMEDY}"
    if _NO_MILLISECONDS.fullmatch(text):
        return f"{shown}, because this `date` has no %3N: {REMEDY}"
    try:
        number = float(text.strip('"'))
    except ValueError:
        return ""
    if unit := unit_of(number, now_ms):
        return f"{shown}, which is {unit}, not milliseconds: {REMEDY}"
    if text.startswith('"'):
        return f"{shown}, a text: write it without quotes"
    return f"{shown}, no whole number: {REMEDY}" if not text.lstrip("-").isdigit() else ""


def unit_of(issued: float, now_ms: int) -> str:
    """Return the unit that a time is in, if it is near now in another one than ms; else ""."""
    near = (unit for unit, each in _UNITS.items() if abs(issued / each - now_ms) < DAY_MS)
    return next(near, "")


def request_id(payload: bytes) -> str:
    """Return the request id of a message that is no JSON, so that its sender knows the answer."""
    found = _REQUEST.search(payload)
    return printable(found[1]) if found else ""
