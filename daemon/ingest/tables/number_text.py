"""Read numbers from columns: exact to the last bit, with the decimal mark judged, not guessed."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from daemon.ingest.tables.reading import Floats, converted, printable
from hyperdrift.errors import BadInput

_SPACE: Final = "[ \u00a0\u2009\u202f'\u2019]"
# What is no missing value: `1.2K`, `60000 USD`; with a word alone a row is only left out.
_SHORTENED: Final = r"^[^\s0-9]?[0-9][0-9.,]*\s*[KkMmBbTt](?:n|io|rd|ln)?\.?$"
_MOST_ODD: Final = 0.1
_EXPONENT: Final = "(?:[eE][+-]?[0-9]+)?"
_NULLS: Final = r"(?i)^(|nan|nat|null|none|na|n/a|<na>|-|inf|-inf|infinity)$"
# Text that is a number with one decimal mark only: what the other mark would make of it is none.
_SURELY: Final = {
    ",": rf"^[+-]?(?:[0-9]+|[0-9]{{1,3}}(?:(?:\.|{_SPACE})[0-9]{{3}})+),"
    rf"(?:[0-9]{{1,2}}|[0-9]{{4,}}){_EXPONENT}$"
    r"|^[+-]?[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+$|^[+-]?0,[0-9]+$|^[+-]?[0-9]{4,},[0-9]+$"
    r"|^[+-]?[0-9]{1,3}(?:\.[0-9]{3}){2,}$",
    ".": rf"^[+-]?(?:[0-9]*|[0-9]{{1,3}}(?:(?:,|{_SPACE})[0-9]{{3}})+)\."
    rf"(?:[0-9]{{1,2}}|[0-9]{{4,}})?{_EXPONENT}$"
    r"|^[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]*$|^[+-]?0?\.[0-9]+$|^[+-]?[0-9]{4,}\.[0-9]+$"
    r"|^[+-]?[0-9]{1,3}(?:,[0-9]{3}){2,}$",
}
_WITH: Final = {
    ",": rf"^[+-]?(?:[0-9]+|[0-9]{{1,3}}(?:(?:\.|{_SPACE})[0-9]{{3}})+)(?:,[0-9]*)?{_EXPONENT}$",
    ".": rf"^[+-]?(?:[0-9]*|[0-9]{{1,3}}(?:(?:,|{_SPACE})[0-9]{{3}})+)(?:\.[0-9]*)?{_EXPONENT}$",
}
_OTHER: Final = {",": r"\.", ".": ","}


def read_numbers(
    path: str, columns: Mapping[str, Any], said: str = "", separator: str = ""
) -> tuple[dict[str, Floats], list[str]]:
    """Read columns of numbers; what is none is NaN.

    Args:
        path: The file, for messages.
        columns: Arrow arrays by the name of the column.
        said: The decimal mark, `.` or `,`; "" judges it from all columns.
        separator: What stands between values; beside semicolons 60.019 may be thousands.

    Returns:
        The numbers by name, shape (rows,) each, and what was judged.

    Raises:
        BadInput: If the mark cannot be judged, or a column has no number.
    """
    plain = {name: _cast(column) for name, column in columns.items()}
    whole = all(values is not None for values in plain.values())
    if whole and not said:
        if separator == ";":
            _require_sure(path, {name: c for name, c in columns.items() if _is_text(c)})
        return {name: values for name, values in plain.items() if values is not None}, []
    texts = {name: _trimmed(c) for name, c in columns.items() if _is_text(c)}
    mark = said or _judged(path, texts)
    found: dict[str, Floats] = {}
    for name, column in columns.items():
        typed = plain[name]
        if name not in texts:
            if typed is None:
                raise BadInput(f"{path}: its column {name} holds no numbers ({column.type})")
            found[name] = typed
        else:
            found[name] = _parsed(path, name, texts[name], mark)
    notes = ["numbers with a decimal comma"] if mark == "," else []
    grouped = any(_any(text, rf"[0-9](?:{_OTHER[mark]}|{_SPACE})[0-9]") for text in texts.values())
    return found, notes + (["thousands are separated"] if grouped else [])


def _is_text(column: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    return bool(pa.types.is_string(column.type))


def _cast(column: Any) -> Floats | None:
    """Return a column as numbers; None if one of its values is no plain number."""
    import pyarrow as pa  # noqa: PLC0415 - see _is_text

    if pa.types.is_temporal(column.type) or pa.types.is_boolean(column.type):
        return None
    if pa.types.is_float32(column.type):  # 59911.3 is meant, not 59911.30078125
        column = column.cast(pa.string())
    numbers = converted(column, pa.float64())
    return None if numbers is None else np.asarray(numbers.to_numpy(), dtype=np.float64)


def _trimmed(text: Any) -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415 - see _is_text

    return plain_signs(pc.replace_substring_regex(text, r"^[\s$]+|\s+$", ""))


def plain_signs(text: Any) -> Any:
    """Return text whose negative numbers begin with a hyphen, as those of programs do.

    Typeset ones have a minus of their own, and those of accountants stand in brackets.
    """
    import pyarrow.compute as pc  # noqa: PLC0415 - see _is_text

    text = pc.replace_substring(text, "\u2212", "-")
    return pc.replace_substring_regex(text, r"^\s*\(([0-9.,eE+%-]+)\)\s*$", r"-\1")


def _any(text: Any, pattern: str) -> bool:
    import pyarrow.compute as pc  # noqa: PLC0415 - see _is_text

    return bool(pc.any(pc.match_substring_regex(text, pattern)).as_py())


def _first(text: Any, pattern: str) -> str:
    import pyarrow.compute as pc  # noqa: PLC0415 - see _is_text

    return printable(text.filter(pc.match_substring_regex(text, pattern))[0].as_py())


def _judged(path: str, texts: Mapping[str, Any]) -> str:
    """Return the decimal mark that the numbers of a file have."""
    sure = {
        mark: [name for name, text in texts.items() if _any(text, pattern)]
        for mark, pattern in _SURELY.items()
    }
    if sure[","] and sure["."]:
        one, other = ((sure[mark][0], _first(texts[sure[mark][0]], _SURELY[mark])) for mark in ",.")
        raise BadInput(
            f"{path} writes numbers in two ways: {one[0]} {one[1]!r}, {other[0]} {other[1]!r}; "
            "write all of them with a decimal point"
        )
    if sure[","] or sure["."]:
        return "," if sure[","] else "."
    for name, text in texts.items():
        if _any(text, r"^[+-]?[0-9]{1,3},[0-9]{3}$"):
            value = _first(text, r"^[+-]?[0-9]{1,3},[0-9]{3}$")
            raise BadInput(
                f"{path}: {name} {value!r} may be a decimal or thousands; "
                "say --decimal , or --decimal ."
            )
    return "."


def _require_sure(path: str, texts: Mapping[str, Any]) -> None:
    """Raise if points may separate thousands, as they do where semicolons separate values."""
    pattern = r"^\s*[0-9]{1,3}\.[0-9]{3}\s*$"
    if any(_any(text, _SURELY["."]) for text in texts.values()):
        return
    for name, text in texts.items():
        if _any(text, pattern):
            raise BadInput(
                f"{path}: {name} {_first(text, pattern)!r} may be a decimal or thousands; "
                "say --decimal . or --decimal ,"
            )


def _parsed(path: str, name: str, text: Any, mark: str) -> Floats:
    import pyarrow as pa  # noqa: PLC0415 - see _is_text
    import pyarrow.compute as pc  # noqa: PLC0415 - see _is_text

    match = pc.and_(
        pc.match_substring_regex(text, _WITH[mark]), pc.match_substring_regex(text, "[0-9]")
    )
    if not pc.any(match).as_py():
        empty = pc.match_substring_regex(text, _NULLS)
        if not pc.all(empty).as_py():
            value = printable(text.filter(pc.invert(empty))[0].as_py())
            raise BadInput(f"{path}: {name} {value!r} is no number; write it as 1234.5")
    odd = pc.and_(pc.invert(match), pc.match_substring_regex(text, "[0-9]"))
    shortened = pc.and_(odd, pc.match_substring_regex(text, _SHORTENED))
    share = pc.mean(odd.cast(pa.float64())).as_py() or 0.0
    if share > _MOST_ODD or pc.any(shortened).as_py():
        value = printable(text.filter(odd if share > _MOST_ODD else shortened)[0].as_py())
        raise BadInput(f"{path}: {name} {value!r} is no number; write it as 1234.5")
    cleaned = pc.if_else(match, text, pa.scalar(None, pa.string()))
    cleaned = pc.replace_substring_regex(cleaned, f"{_OTHER[mark]}|{_SPACE}", "")
    if mark == ",":
        cleaned = pc.replace_substring(cleaned, ",", ".")
    return np.asarray(cleaned.cast(pa.float64()).to_numpy(), dtype=np.float64)
