"""Take rows out of a CSV file as it grows, and remember its header when a rotation loses it.

A log rotation leaves a bot with an empty file, and many bots write the header only when they
start. The header of the file before then still says what the columns are.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from daemon.trade_files.closed_trade import BadTrade, NoTrade

# So many lines at most may be one row.
_LONGEST: Final = 20
_NUMBER: Final = re.compile(r"[-+$]?[\d.,]+([eE][-+]?\d+)?")
_CUT: Final = "the last line of a file that ended has no newline"
_DATE: Final = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b.*")


class Header(NamedTuple):
    """The names of the columns, and what separates them."""

    names: tuple[str, ...]
    delimiter: str = ","


class CsvBad(NamedTuple):
    """A line that is no row, shortened, and why."""

    text: str
    why: BadTrade


class CsvRows:
    """Finds the rows in text that comes in pieces.

    Args:
        header: The header of an earlier file, for one that has none.
        is_known: Whether a header's names are those of a trade; a row of text alone is taken
            for a new header only then.
        guess: Returns the names of the columns of a file without any header, if they are certain.
    """

    def __init__(
        self,
        header: Header | None,
        *,
        is_known: Callable[[Sequence[str]], bool],
        guess: Callable[[Sequence[str]], Sequence[str] | None],
    ) -> None:
        self.header = header
        self._is_known, self._guess = is_known, guess
        self._is_first = True
        self._text = ""
        self._held: list[str] = []

    @property
    def waits(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._text.strip("\0\ufeff ") or self._held)

    def feed(self, text: str) -> Iterator[dict[str, str] | CsvBad]:
        """Take more text; yield the rows of whole lines."""
        *lines, self._text = (self._text + text).split("\n")
        for line in lines:
            self._held.append(line.strip("\r\0\ufeff"))
            if len(self._held) >= _LONGEST or not self._is_inside_quotes():
                yield from self._rows()

    def end(self) -> Iterator[dict[str, str] | CsvBad]:
        """Take the end of the text; a line without its end may lack digits, so it is bad."""
        if rest := self._text.strip("\0\ufeff "):
            yield CsvBad(rest[:200], BadTrade(_CUT, f"{_CUT}: end each line with one"))
        self._text = ""
        yield from self._rows()

    def _is_inside_quotes(self) -> bool:
        """Return whether a quoted field goes on in the next line; a stray quote does not."""
        text = "\n".join(self._held)
        if not text.count('"') % 2:
            return False
        delimiter = self.header.delimiter if self.header else max(",;\t|", key=text.count)
        try:
            list(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error as e:
            return "unexpected end" in str(e)
        return False

    def _rows(self) -> Iterator[dict[str, str] | CsvBad]:
        held, self._held = self._held, []
        whole = self._row("\n".join(held))
        if isinstance(whole, CsvBad) and len(held) > 1:
            yield from filter(None, map(self._row, held))
        elif whole:
            yield whole

    def _row(self, line: str) -> dict[str, str] | CsvBad | None:
        """Return the row of a line; None for a header or an empty line."""
        line = line.strip(" \r\n")
        if not line:
            return None
        if line.lower().startswith("sep=") and len(line) == len("sep=,"):
            return None  # a hint for spreadsheets
        is_comment = line.startswith("#")
        try:
            if self._takes_header(line.lstrip("# "), is_comment=is_comment):
                return None
            cells = self._cells(line)
        except BadTrade as e:
            return None if is_comment else CsvBad(line[:200], e)
        return CsvBad(line[:200], NoTrade("rows behind a #")) if is_comment else cells

    def _takes_header(self, line: str, *, is_comment: bool) -> bool:
        """Return whether a line names the columns, and take it if so."""
        delimiter = max(",;\t|", key=line.count)
        cells = _split(line, delimiter)
        is_text = len(cells) > 1 and not any(map(_is_value, cells))
        if is_text and (self._is_known(cells) or (not is_comment and self._may_be_new(cells))):
            self.header, self._is_first = Header(_told_apart(cells), delimiter), False
            return True
        self._is_first &= is_comment
        if self.header is None and not is_comment and (names := self._guess(cells)):
            self.header = Header(tuple(names), delimiter)
        return False

    def _may_be_new(self, cells: Sequence[str]) -> bool:
        """Return whether text is a header: nothing else was, or it would fit that of before."""
        header = self.header
        return header is None or (self._is_first and len(cells) == len(header.names))

    def _cells(self, line: str) -> dict[str, str]:
        if self.header is None:
            remedy = "write one as the first line"
            raise BadTrade("the file has no header", f"the file has no header: {remedy}")
        names, delimiter = self.header
        cells = _split(line, delimiter)
        while len(cells) > len(names) and not cells[-1]:
            cells.pop()  # a delimiter at the end
        if len(cells) != len(names):
            text = f"it has {len(cells)} fields, the header {len(names)}"
            raise BadTrade("it has another number of fields than the header", text)
        return dict(zip(names, cells, strict=True))


def _told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns; nobody knows which of two of one name is meant."""
    found = Counter(name.casefold() for name in names)
    return tuple(
        f"{name} (twice)" if name and found[name.casefold()] > 1 else name for name in names
    )


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration) as e:
        raise BadTrade("it is no CSV", f"it is no CSV ({e})") from e


def _is_value(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell))
