"""Turn what a terminal sends for keys into names: `up`, `enter`, `q`."""

from typing import Final

_SEQUENCES: Final = {
    b"\x1b[A": "up", b"\x1bOA": "up",
    b"\x1b[B": "down", b"\x1bOB": "down",
    b"\x1b[D": "left", b"\x1bOD": "left",
    b"\x1b[C": "right", b"\x1bOC": "right",
    b"\x1b[5~": "page_up", b"\x1b[6~": "page_down",
    b"\x1b[H": "home", b"\x1bOH": "home", b"\x1b[1~": "home",
    b"\x1b[F": "end", b"\x1bOF": "end", b"\x1b[4~": "end",
    b"\r": "enter", b"\n": "enter", b"\x7f": "back", b"\x08": "back",
}  # fmt: skip
_LONGEST: Final = max(map(len, _SEQUENCES))
_ESCAPE: Final = 0x1B
# The last byte of a sequence that begins with ESC [, after its numbers.
_FINAL: Final = range(0x40, 0x7F)
_PRINTED: Final = range(0x20, 0x7F)


def named(given: bytes) -> list[str]:
    """Return the names of the keys in what was read at once; unknown sequences give none.

    A terminal sends a sequence in one piece, so an ESC at the end is the key Esc.
    """
    found, rest = list[str](), given
    while rest:
        size = next((n for n in range(_LONGEST, 0, -1) if rest[:n] in _SEQUENCES), 0)
        if size:
            found.append(_SEQUENCES[rest[:size]])
        elif rest[0] == _ESCAPE:
            size = _sequence(rest)
            found += ["escape"] * (size == 1)
        else:
            size = 1
            found += [chr(rest[0])] * (rest[0] in _PRINTED)
        rest = rest[size:]
    return found


def _sequence(rest: bytes) -> int:
    """Return the length of an unknown sequence that begins with ESC."""
    if rest[1:2] not in {b"[", b"O"}:
        return 1
    ends = (i for i, byte in enumerate(rest[2:], 3) if byte in _FINAL)
    return next(ends, len(rest))
