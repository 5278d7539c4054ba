"""Read JSON that other programs wrote, and quote their text in lines of ours.

A byte that is no UTF-8, or a list nested ten thousand deep, raises errors that a JSON library
does not name as its own. Here all of them are one error. Text of others may hold control
characters and may be long, so it is never logged as it came.
"""

from typing import Any, Final

import msgspec

from hyperdrift.errors import BadInput

QUOTED_CHARS: Final = 200
"""How much of another program's text a line quotes."""


def decode_json(text: bytes | str, shape: Any = Any, *, strict: bool = True) -> Any:
    """Read JSON of another program.

    Args:
        text: The JSON.
        shape: The type to read it as, as msgspec takes it.
        strict: Whether a number must not be a string.

    Raises:
        BadInput: If it is no JSON or has another shape; the text is short and printable.
    """
    try:
        return msgspec.json.decode(text, type=shape, strict=strict)
    except msgspec.MsgspecError as e:
        raise BadInput(printable(str(e))) from e
    except UnicodeError as e:
        raise BadInput("it is not UTF-8") from e
    except RecursionError as e:
        raise BadInput("it is nested too deep") from e


def printable(text: bytes | str, limit: int = QUOTED_CHARS) -> str:
    """Return the beginning of a text, with an escape for each character that cannot be shown."""
    # A character has four bytes at most.
    whole = text[: 4 * limit + 4].decode(errors="replace") if isinstance(text, bytes) else text
    kept = whole[:limit]
    if not kept.isprintable():
        kept = "".join(map(_shown, kept))
    return kept if len(whole) <= limit and len(kept) <= limit else kept[:limit] + "..."


def escaped(text: str) -> str:
    """Return a text with an escape for each character that is not shown, line breaks aside."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" else _shown(c) for c in text)


def _shown(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]
