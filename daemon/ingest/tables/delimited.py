"""Read delimited text: CSV and its relatives, with or without a header."""

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from daemon.ingest.tables.containers import HEAD_BYTES, Content, as_utf8, is_utf8
from daemon.ingest.tables.dates import month
from daemon.ingest.tables.reading import RawTable, printable
from hyperdrift.errors import BadInput

# A comma goes last of the marks: it may be the decimal mark beside any other.
_SEPARATORS: Final = ("\t", ";", "|", ",", " ")
_NAMES: Final = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas", " ": "spaces"}
_DOLLARS: Final = frozenset({"USD", "USDT", "USDC", "$"})
_LOOK: Final = 400  # lines
_MOST_UNNAMED: Final = 16
_ENOUGH, _MOST = 20, 0.75
TRAILING: Final = "(empty last column)"
_BLOCK_BYTES: Final = 1 << 22
_WORD: Final = re.compile(r"[^\W\d_]{3,}")
_VALUE: Final = re.compile(
    r"[\s$%+\-\u2212(]*\d[\d\s.,:+\-\u2212/TZ'$%eE)\u00a0\u202f]*([AaPp]\.?[Mm]\.?|UTC|GMT)?"
    r"|[+-]?\.\d+|nan|null|none|n/?a",
    re.IGNORECASE,
)

Known = Callable[[str], bool]
Useful = Callable[[Sequence[str]], Sequence[int]]


class _Layout(NamedTuple):
    separator: str
    names: list[str]  # empty without a header
    width: int
    offset: int  # of the first row, bytes
    words: list[str]  # lines above the rows that are not the header
    quotes: bool  # whether values are quoted; one stray mark would swallow the rows after it


def read_delimited(path: Path, content: Content, known: Known, useful: Useful) -> RawTable:
    """Read delimited text; every column is text.

    Args:
        path: The file, for messages.
        content: Its text.
        known: Whether a word is a name that a header may have.
        useful: Which columns of a header to read, by their numbers from 0.

    Raises:
        BadInput: If the text has no table.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    latin = not is_utf8(content)  # Arrow itself fails in odd ways on a bad row that is none
    try:
        table = _read(path, as_utf8(content, latin=latin), known, useful)
    except pa.ArrowInvalid as e:
        raise BadInput(f"{path} cannot be read ({str(e).splitlines()[0]})") from e
    if latin:
        table.notes.append("read as Latin-1 text, because it is no UTF-8")
    return table


def _read(path: Path, stream: BinaryIO, known: Known, useful: Useful) -> RawTable:
    base = stream.tell()
    head = stream.read(HEAD_BYTES)
    layout = _layout(path, head, known)
    names = layout.names or [str(number + 1) for number in range(layout.width)]
    picked = list(useful(names) if layout.names else range(min(layout.width, _MOST_UNNAMED)))
    if TRAILING in names:
        picked = sorted({*picked, *range(names.index(TRAILING), layout.width)})
    if not picked:
        named = ", ".join(names[:20])
        raise BadInput(f"{path} has no column that is known ({named}): name them with --columns")
    stream.seek(base + layout.offset)
    lost: Counter[str] = Counter()
    watched = _Watched(stream)
    columns = _columns(watched, layout, picked, lost)
    if watched.last != b"\n" and picked[-1] == layout.width - 1 and _is_cut(columns[-1]):
        columns = [column.slice(0, len(column) - 1) for column in columns]
        lost["in a last line that is cut off"] += 1
    if extra := names.count(TRAILING):
        _require_empty(path, columns[-extra:], layout.width)
        names, picked, columns = names[:-extra], picked[:-extra], columns[:-extra]
    notes = [] if layout.separator == "," else [f"separated by {_NAMES[layout.separator]}"]
    return RawTable(
        path=str(path),
        names=[names[number] for number in picked],
        columns=columns,
        header=bool(layout.names),
        words=layout.words,
        separator=layout.separator,
        all_names=names,
        lost=lost,
        notes=notes,
    )


class _Watched:
    """A stream that remembers its last byte."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.last, self.closed = stream, b"", False

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.last = data[-1:] or self.last
        return data


def _is_cut(column: Any) -> bool:
    """Return whether the last number has two decimals less than most before it.

    The file ends inside its line then: a copy that broke off, or a program that still writes.
    """
    import pyarrow.compute as pc  # noqa: PLC0415 - see read_delimited

    tail = column.slice(max(0, len(column) - _LOOK))
    decimals = pc.utf8_length(pc.replace_substring_regex(tail, r"^[^.]*\.?", "")).to_pylist()
    if len(decimals) < _ENOUGH:
        return False
    most = decimals[-1] + 1
    more = sum(count > most for count in decimals[:-1])
    return bool(more >= _MOST * (len(decimals) - 1))


def _columns(
    stream: "_Watched", layout: _Layout, picked: Sequence[int], lost: Counter[str]
) -> list[Any]:
    import pyarrow as pa  # noqa: PLC0415 - see read_delimited
    from pyarrow import csv as arrow_csv  # noqa: PLC0415 - see read_delimited

    def skip(row: Any) -> str:
        is_comment = row.text.lstrip().startswith(("#", "//"))
        wrong = f"with {row.actual_columns} columns instead of {layout.width}"
        lost["comment lines" if is_comment else wrong] += 1 + row.text.strip().count("\n")
        return "skip"

    all_names = [str(number) for number in range(layout.width)]
    names = [all_names[number] for number in picked]
    reader = arrow_csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=arrow_csv.ReadOptions(column_names=all_names, block_size=_BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(
            delimiter=layout.separator,
            quote_char='"' if layout.quotes else False,
            invalid_row_handler=skip,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names,
            strings_can_be_null=False,
        ),
    )
    table = reader.read_all()
    return list(table.columns)


def _require_empty(path: Path, columns: Sequence[Any], width: int) -> None:
    """Raise if one of the last columns, for which the header has no name, has values."""
    import pyarrow.compute as pc  # noqa: PLC0415 - see read_delimited

    for column in columns:
        if len(column) and pc.max(pc.utf8_length(pc.utf8_trim_whitespace(column))).as_py():
            named = width - len(columns)
            raise BadInput(
                f"{path} has a header of {named} columns over rows of {width}: make them equal"
            )


def _layout(path: Path, head: bytes, known: Known) -> _Layout:
    raw = head.splitlines(keepends=True)
    if len(head) >= HEAD_BYTES and len(raw) > 1:
        raw.pop()  # it may be cut off
    raw = raw[:_LOOK]
    offset, said = 0, ""
    if re.fullmatch(rb"sep=.\s*", raw[0], re.IGNORECASE):
        offset, said = len(raw[0]), chr(raw[0][4])
        raw = raw[1:]
    lines = [line.decode().rstrip("\r\n") for line in raw]
    for separator in (said,) if said else _SEPARATORS:
        rows = [_cells(line, separator) for line in lines]
        found = _first_rows(rows)
        if found is not None:
            first, width = found
            at = _header_line(rows[:first], width, known)
            names = [] if at is None else _names(path, _with_coins(rows[:first], at), width)
            words = [line for i, line in enumerate(lines[:first]) if i != at and line.strip()]
            if at is None:
                _require_no_header(path, words, known)
            begin = first if at is None else at + 1
            while begin < first and not any(map(_is_value, rows[begin])):
                names = _with_dollars(names, rows[begin])
                begin += 1  # another level of the header, or units
            offset += sum(map(len, raw[:begin]))
            return _Layout(separator, names, width, offset, words, b'"' in head)
    shown = next((line for line in lines if line.strip()), "")[:60]
    raise BadInput(f"{path} has no rows of a table: it begins with {shown!r}")


def _cells(line: str, separator: str) -> list[str]:
    """Split one line as the reader will; a blank line has no cells."""
    if not line.strip():
        return []
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


def _first_rows(rows: Sequence[Sequence[str]]) -> tuple[int, int] | None:
    """Return the number of the first row with values, and how many cells rows have."""
    is_row = [_is_row(cells) for cells in rows]
    widths = Counter(len(cells) for cells, yes in zip(rows, is_row, strict=True) if yes)
    filled = sum(bool(cells) for cells in rows)
    if not widths:
        return None
    width, count = widths.most_common(1)[0]
    if width < 2 or count < 0.5 * (filled - 10):  # noqa: PLR2004 - a few lines may stand above
        return None
    first = next(i for i, yes in enumerate(is_row) if yes and len(rows[i]) == width)
    return first, width


def _is_row(cells: Sequence[str]) -> bool:
    values = sum(map(_is_value, cells))
    return values >= 2 and not cells[0].lstrip().startswith("#")  # noqa: PLR2004 - time and value


def _is_value(cell: str) -> bool:
    """Return whether a cell is a number or a date, which may name its month."""
    if _VALUE.fullmatch(cell.strip()):
        return True
    return any(map(str.isdigit, cell)) and any(
        math.isfinite(month(word)) for word in _WORD.findall(cell)
    )


def _header_line(rows: Sequence[Sequence[str]], width: int, known: Known) -> int | None:
    """Return which of the lines above the first row names the columns; None if none does."""
    scores = [sum(known(cell) for cell in cells) for cells in rows]
    best = max(range(len(rows)), key=lambda i: (scores[i], i), default=None)
    if best is not None and scores[best] < 2:  # noqa: PLR2004 - a sentence may have one
        best = len(rows) - 1 if len(rows[-1]) == width else None
    return best


def _with_coins(rows: Sequence[Sequence[str]], at: int) -> list[str]:
    """Return the names of a header; where some repeat, with the coins of another line above them.

    Pandas writes the levels of its columns as lines; spreadsheets name the first of merged cells.
    """
    names = list(rows[at])
    for i, cells in enumerate(rows):
        if i != at and len(cells) == len(names) and len(set(names)) < len(names):
            above: Iterator[str] = accumulate(cells[1:], lambda last, cell: cell or last)
            names[1:] = [f"{n} {coin}".strip() for n, coin in zip(names[1:], above, strict=True)]
    return names


def _with_dollars(names: list[str], cells: Sequence[str]) -> list[str]:
    """Return names with the unit that stands below some: a volume may count dollars."""
    if len(cells) != len(names):
        return names
    both = zip(names, map(str.strip, cells), strict=True)
    return [f"{name} ({unit})" if unit.upper() in _DOLLARS else name for name, unit in both]


def _require_no_header(path: Path, words: Sequence[str], known: Known) -> None:
    """Raise if a line above the rows may name columns, but not as the rows separate them."""
    for line in words:
        cells = max((_cells(line, separator) for separator in _SEPARATORS[:-1]), key=len)
        if len(cells) > 2 or sum(map(known, line.split())) > 2:  # noqa: PLR2004 - no sentence
            raise BadInput(
                f"{path} has {printable(line)!r} above its rows, which have other columns: "
                "make it name each of them, or take it out"
            )


def _names(path: Path, cells: Sequence[str], width: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    names[0] = names[0].lstrip("#").strip()
    while len(names) > width and not names[-1]:
        names.pop()
    names += [TRAILING] * (width - len(names))  # if they are empty
    if len(names) != width:
        raise BadInput(
            f"{path} has a header of {len(names)} columns over rows of {width}: make them equal"
        )
    return names
