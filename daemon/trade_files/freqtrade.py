"""Read closed trades as freqtrade writes them: its database, its exports, its REST answers."""

import contextlib
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from daemon.trade_files.closed_trade import (
    EMPTY,
    FileTrade,
    NoTrade,
    moment,
    name,
    number,
    value_at_entry,
    whole,
)

MAGIC: Final = b"SQLite format 3\0"
"""How a database file begins."""
_NEEDED: Final = ("pair", "is_open", "open_date", "close_date")
_EARNED: Final = ("close_profit_abs", "profit_abs")


def is_freqtrade(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a trade of freqtrade."""
    opened = {"open_date", "open_timestamp"}.isdisjoint(record)
    return "pair" in record and not opened and any(each in record for each in _EARNED)


def read_trade(record: Mapping[str, Any]) -> FileTrade:
    """Read one trade.

    Raises:
        NoTrade: If it is still open.
        BadTrade: If a field is missing or cannot be read.
    """
    closed = _first(record, "close_timestamp", "close_date")
    if closed is None or _is_true(record.get("is_open")):
        raise NoTrade("open")
    opened_ms = moment(_first(record, "open_timestamp", "open_date"), "open_date")
    closed_ms = moment(closed, "close_date")
    is_short = _is_true(record.get("is_short"))
    own = _first(record, "trade_id", "id")
    # A new database counts its ids from 1 again.
    which = f"{record['pair']}-{closed_ms}-{is_short:d}" if own is None else whole(str(own))
    pnl = _first(record, *_EARNED)
    return FileTrade(
        trade_id=name(f"freqtrade-{which}-{opened_ms}"),
        side="sell" if is_short else "buy",
        opened_ms=opened_ms,
        closed_ms=closed_ms,
        pnl=number(pnl, "close_profit_abs"),
        coin=str(record["pair"] or "").strip(),
        interval=str(_first(record, "timeframe") or "").removesuffix(".0"),
        entry=number(_first(record, "open_rate") or 0, "open_rate"),
        exit=number(_first(record, "close_rate") or 0, "close_rate"),
        notional=value_at_entry(record.get("open_rate"), record.get("amount")),
    )


class FreqtradeDatabase:
    """Reads the closed trades of freqtrade's SQLite file.

    The file is opened read-only for each call, so that freqtrade is never kept waiting. A trade
    may be stored after one that closed later, so each call looks at all of the time it is given.

    Args:
        path: The file.

    Attributes:
        older: Closed trades from before that time, at the last call.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: set[tuple[int, str]] = set()
        self.older = 0

    def new(self, since_ms: int) -> list[dict[str, Any]]:
        """Return the rows of trades that no call returned yet, oldest first.

        Args:
            since_ms: Trades that closed before, ms UTC, are only counted.

        Raises:
            OSError: If the file cannot be read, or has no table of trades.
        """
        since = f"{datetime.fromtimestamp(since_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
        try:
            with contextlib.closing(self._opened()) as database:
                found = self._rows(database, since)
        except sqlite3.Error as e:
            remedy = "let the daemon's user read its folder, too"
            raise OSError(f"it is an SQLite file that cannot be read ({e}): {remedy}") from e
        new = [row for row in found if (row["_row"], str(row["close_date"])) not in self._seen]
        self._seen = {(row["_row"], str(row["close_date"])) for row in found}
        return new

    def _opened(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        database = sqlite3.connect(uri, uri=True, timeout=5)
        database.row_factory = sqlite3.Row
        try:
            database.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            database.close()
            # Beside a write-ahead log in a folder that we may not write, nothing else works.
            if self._path.with_name(f"{self._path.name}-wal").exists():
                raise
            database = sqlite3.connect(f"{uri}&immutable=1", uri=True)
            database.row_factory = sqlite3.Row
        return database

    def _rows(self, database: sqlite3.Connection, since: str) -> list[dict[str, Any]]:
        columns = {row[1] for row in database.execute("PRAGMA table_info(trades)")}
        if not columns.issuperset(_NEEDED) or columns.isdisjoint(_EARNED):
            raise OSError(
                "it is an SQLite file without freqtrade's table `trades`: name freqtrade's "
                "tradesv3.sqlite, or a CSV or JSON lines file"
            )
        closed = "FROM trades WHERE close_date IS NOT NULL AND is_open = 0 AND close_date"
        self.older = database.execute(f"SELECT count(*) {closed} < ?", (since,)).fetchone()[0]
        query = f"SELECT rowid AS _row, * {closed} >= ? ORDER BY close_date, rowid"
        return [dict(row) for row in database.execute(query, (since,))]


def _first(record: Mapping[str, Any], *names: str) -> Any:
    found = (record.get(each) for each in names)
    return next((each for each in found if str(each).strip().casefold() not in EMPTY), None)


def _is_true(value: object) -> bool:
    return str(value).strip().casefold() in {"1", "1.0", "true"}
