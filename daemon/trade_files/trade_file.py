"""Follow a file of closed trades, whatever program writes it.

Its content tells what it is: CSV, JSON lines, a JSON array that is written anew with each
trade, fills of the venue, or freqtrade's database. All of it is read in pieces.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from daemon.trade_files.closed_trade import BadTrade, FileTrade
from daemon.trade_files.csv_rows import CsvBad, CsvRows, Header
from daemon.trade_files.decoding import Decoder
from daemon.trade_files.file_history import FileHistory
from daemon.trade_files.file_tail import Piece
from daemon.trade_files.fill_batch import FillBatch
from daemon.trade_files.freqtrade import MAGIC, FreqtradeDatabase
from daemon.trade_files.json_stream import JsonBad, JsonStream
from daemon.trade_files.records import RecordReader
from daemon.trade_files.trade_counts import TradeCounts
from hyperdrift.slot_name import DAY_MS

log = structlog.get_logger()

KEPT_DAYS: Final = 45
"""Older trades influence no decision; a file may hold years of them."""

_JSON_NAMES: Final = (".json", ".jsonl", ".ndjson")
_LONGEST_START: Final = 1 << 16


class TradeFile:
    """A file of closed trades, read while it grows.

    Args:
        path: The file; it may not exist yet.
        columns: Our field -> its name in the file, if they differ.
        now_ms: Returns the present time, ms UTC; trades that close later are bad.
        counts: Counts what is bad or no closed trade.

    Attributes:
        header: The header of the CSV file; None if it has none or is none. One that is known from
            before may be set.
    """

    def __init__(
        self,
        path: Path,
        columns: Mapping[str, str],
        *,
        now_ms: Callable[[], int],
        counts: TradeCounts | None = None,
    ) -> None:
        self.path = path.absolute()
        self.counts = counts or TradeCounts()
        self.header: Header | None = None
        self._now_ms, self._reader = now_ms, RecordReader(columns, now_ms)
        self._fills = FillBatch(self._reader, now_ms, self._refuse)
        self._history = FileHistory(self.path, begin=self.counts.clear, refuse=self._refuse_file)
        self._database, self._is_database = FreqtradeDatabase(self.path), False
        self._comma = False
        self._start_file()

    def close(self) -> None:
        """Close the file."""
        self._history.close()

    def new(self) -> list[FileTrade] | None:
        """Return the trades of the next piece, perhaps none; None if all is read.

        Raises:
            OSError: If the file exists and cannot be read.
        """
        if self._is_database:
            return self._from_database()
        piece = self._history.next()
        if piece is None:
            self.counts.waits = bool(self._start.strip() or (self._rows and self._rows.waits))
            self._tell_passed_over()
            return list(self._fills.joined()) or None
        if piece.begins:
            self._see_begin(piece)
            if self._is_database:
                return self._from_database()
        return [trade for trade in self._trades(piece) if trade]

    def _tell_passed_over(self) -> None:
        """Count the first object of a file that has nothing but objects of unknown keys."""
        if isinstance(self._rows, JsonStream) and (text := self._rows.passed_over):
            self._rows.passed_over = ""
            why = "no trades stand under its keys; write a list of them, or see [trades.columns]"
            self._refuse(text, BadTrade("no trades stand under its keys", why))

    def _oldest_ms(self) -> int:
        return self._now_ms() - KEPT_DAYS * DAY_MS

    def _see_begin(self, piece: Piece) -> None:
        if piece.data.startswith(MAGIC):
            self._is_database = True
            self._history.close()
        self._start_file()

    def _start_file(self) -> None:
        self._decoder, self._start = Decoder(), ""
        self._rows: CsvRows | JsonStream | None = None
        self._reader.begin()

    def _from_database(self) -> list[FileTrade] | None:
        rows = self._database.new(self._oldest_ms())
        self.counts.old = self._database.older
        return [trade for row in rows if (trade := self._read(row))] or None

    def _trades(self, piece: Piece) -> Iterator[FileTrade | None]:
        text = self._decoder.feed(piece.data, ends=piece.ends)
        if (fault := self._decoder.fault) and self.counts.trouble != f"it is {fault}":
            self.counts.trouble = f"it is {fault}"
            log.warning("trades.no_text", file=str(self.path), why=self.counts.trouble)
        for found in self._records(text, ends=piece.ends):
            if isinstance(self._rows, CsvRows) and self._rows.header:
                self._comma = self._rows.header.delimiter == ";"
            if isinstance(found, JsonBad):
                self._refuse(found.text, BadTrade(found.why, found.why + found.remedy))
            elif isinstance(found, CsvBad):
                self._refuse(found.text, found.why)
            else:
                yield self._read(found)
        if isinstance(self._rows, CsvRows):
            self.header = self._rows.header
        if self._fills.is_full:
            yield from self._fills.joined()

    def _records(
        self, text: str, *, ends: bool
    ) -> Iterator[dict[str, Any] | dict[str, str] | JsonBad | CsvBad]:
        if self._rows is None:
            self._start += text
            self._rows = self._format(self._start, ends=ends)
            if self._rows is None:
                return
            text, self._start = self._start, ""
        yield from self._rows.feed(text)
        if ends:
            yield from self._rows.end()

    def _format(self, start: str, *, ends: bool) -> CsvRows | JsonStream | None:
        """Return the reader of the file's format, None if more text must tell."""
        shown = start.lstrip()
        if shown.startswith(("{", "[")):
            return JsonStream(self._reader.is_trade)
        line, newline, _ = shown.partition("\n")
        if not shown or not (newline or ends or len(shown) > _LONGEST_START):
            return None
        names = [cell.strip('" ') for cell in line.strip().split(max(",;\t|", key=line.count))]
        if self.path.suffix.lower() in _JSON_NAMES and not self._reader.is_known(names):
            return JsonStream(self._reader.is_trade)
        return CsvRows(self.header, is_known=self._reader.is_known, guess=self._reader.guess)

    def _read(self, record: Mapping[str, Any]) -> FileTrade | None:
        comma, record = self._comma, self._reader.named(record)
        try:
            if self._fills.holds(record, comma=comma):
                return None
            found = self._reader.read(record, comma=comma)
        except BadTrade as e:
            self._refuse(str(record), e)
            return None
        if isinstance(found, FileTrade):
            return found
        self._fills.add(found)
        return None

    def _refuse_file(self, name: str, why: str) -> None:
        text = f"{name} cannot be read ({why}): let the daemon's user read it, or remove it"
        self._refuse(name, BadTrade("a file that was set aside cannot be read", text))

    def _refuse(self, record: str, error: BadTrade) -> None:
        self.counts.refuse(record, error, self.path)
