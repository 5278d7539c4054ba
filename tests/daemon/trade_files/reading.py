"""Read files of trades at a time that is always the same."""

from collections.abc import Callable

from daemon.trade_files.closed_trade import FileTrade
from daemon.trade_files.trade_file import TradeFile

NOW_MS = 1_796_000_000_000

Opened = Callable[..., TradeFile]
"""What the fixture `opened` gives: it opens a file and closes it when the test ends."""


def read(file: TradeFile) -> list[FileTrade]:
    """Return all trades that are new in a file."""
    found: list[FileTrade] = []
    while (trades := file.new()) is not None:
        found += trades
    return found


def ids(file: TradeFile) -> list[str]:
    """Return the ids of all trades that are new in a file."""
    return [trade.trade_id for trade in read(file)]
