"""Read closed trades from a file that a bot appends to: CSV with a header, or JSON lines.

The file may not exist yet, or may be rotated or truncated, and its last line may be incomplete.
Lines that cannot be read are counted; only the first is logged.
"""

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from daemon.config.schema import TRADE_FIELDS, TRADE_OWNER_FIELDS

log = structlog.get_logger()

_SIDES: Final = {
    **dict.fromkeys(("buy", "long", "b"), "buy"),
    **dict.fromkeys(("sell", "short", "a"), "sell"),  # the venue itself uses B and A
}
_CHUNK: Final = 1 << 20
# So many bytes before our position must be unchanged, or the file was replaced.
_MARK: Final = 64
# A smaller number is in seconds. As milliseconds it would be before March 1973.
_FIRST_MS: Final = 1e11


@dataclass(frozen=True, slots=True)
class FileTrade:
    """One line. `slot` or `coin` name its slot, if present; `pnl` is after fees, quote units."""

    trade_id: str
    side: str
    opened_ms: int
    closed_ms: int
    pnl: float
    slot: str = ""
    coin: str = ""


class TradeFile:
    """A file of closed trades, read while it grows.

    Args:
        path: The file; CSV if the name ends with `.csv`, else JSON lines.
        columns: Our field -> its name in the file, if they differ.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self.path, self._csv = path.absolute(), path.suffix.lower() == ".csv"
        self._names = {
            name: columns.get(name, name) for name in (*TRADE_FIELDS, *TRADE_OWNER_FIELDS)
        }
        self._file: FileIO | None = None
        self._begin()
        self.bad_lines = 0

    def _begin(self) -> None:
        """Set the position to the first byte."""
        self._at, self._rest, self._mark = 0, b"", b""
        self._header: list[str] | None = None
        self._delimiter = ","
        self._has_logged = False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def new(self) -> list[FileTrade]:
        """Return trades appended since the last call; call it until it returns an empty list.

        Raises:
            OSError: If the file exists and cannot be read.
        """
        while True:
            if self._file is None and not self._open():
                return []
            data = self._appended()
            if data:
                if found := list(self._trades(data)):
                    return found
                continue
            if self._is_current():
                return []
            # The file was rotated and is read to its end. Its last line may have no newline.
            last, self._rest = self._rest, b""
            self.close()
            if last and (found := list(self._trades(last + b"\n"))):
                return found

    def _open(self) -> bool:
        try:
            self._file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            return False
        self._begin()
        return True

    def _appended(self) -> bytes:
        if (file := self._file) is None:
            return b""
        if os.fstat(file.fileno()).st_size < self._at or self._marked(file) != self._mark:
            log.info("trades.file_began_again", file=str(self.path))
            self._begin()
        data = os.pread(file.fileno(), _CHUNK, self._at)
        self._at += len(data)
        self._mark = self._marked(file)
        return data

    def _marked(self, file: FileIO) -> bytes:
        first = max(0, self._at - _MARK)
        return os.pread(file.fileno(), self._at - first, first)

    def _is_current(self) -> bool:
        """Return whether the path still names the open file."""
        if (file := self._file) is None:
            return False
        try:
            return os.path.samestat(self.path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return True  # renamed, and no new file yet: it may still grow

    def _trades(self, data: bytes) -> Iterator[FileTrade]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for raw in lines:
            line = raw.decode("utf-8-sig", errors="replace").strip()
            if not line:
                continue
            try:
                trade = self._trade(line)
            except (ValueError, TypeError, KeyError, OverflowError, csv.Error) as e:
                self._log_bad_line(line, e)
                continue
            if trade is not None:
                yield trade

    def _log_bad_line(self, line: str, error: Exception) -> None:
        self.bad_lines += 1
        if not self._has_logged:
            self._has_logged = True
            why = f"no column {error}" if isinstance(error, KeyError) else str(error)
            remedy = "see [trades.columns]; further bad lines of this file are only counted"
            name = str(self.path)
            log.warning("trades.bad_line", file=name, line=line[:200], why=why, remedy=remedy)

    def _trade(self, line: str) -> FileTrade | None:
        row: dict[str, Any]
        if not self._csv:
            row = msgspec.json.decode(line, type=dict)
        elif self._header is None:
            self._delimiter = max(",;\t", key=line.count)
            self._header = self._cells(line)
            return None
        else:
            cells = self._cells(line)
            if cells == self._header:
                return None  # a restarted bot wrote the header again
            row = dict(zip(self._header, cells, strict=True))
        return self._read(row)

    def _cells(self, line: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=self._delimiter))]

    def _read(self, row: dict[str, Any]) -> FileTrade:
        trade_id, side, opened, closed, pnl = (row[self._names[name]] for name in TRADE_FIELDS)
        slot, coin = (str(row.get(self._names[name]) or "") for name in TRADE_OWNER_FIELDS)
        if trade_id in {None, ""}:
            msg = "trade_id is empty"
            raise ValueError(msg)
        whole = FileTrade(
            str(trade_id), _side(side), _ms(opened), _ms(closed), float(pnl), slot, coin
        )
        if not math.isfinite(whole.pnl) or whole.closed_ms < whole.opened_ms:
            msg = f"pnl is {whole.pnl}, opened {whole.opened_ms}, closed {whole.closed_ms}"
            raise ValueError(msg)
        return whole


def _side(value: object) -> str:
    word = str(value).strip().lower()
    side = _SIDES.get(word)
    if side is None:
        msg = f"side is {value!r}, must be buy or sell (long and short will do)"
        raise ValueError(msg)
    return side


def _ms(value: object) -> int:
    """Return ms UTC of a number (ms or s) or of an ISO 8601 text (UTC if it has no zone)."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    return round(number if number >= _FIRST_MS else number * 1000)
