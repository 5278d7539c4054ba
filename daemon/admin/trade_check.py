"""Check the file of trades as the daemon would read it: what of it counts, and for which slot.

A file of which nothing counts is a fault that nobody notices otherwise: the win rate is then
that of the model's own signals.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from daemon.admin.host_checks import Check
from daemon.config.schema import Config
from daemon.core.clock import VenueClock
from daemon.mqtt.messages import TradesState
from daemon.runtime.trade_follower import TradeSorter
from daemon.runtime.trades import TradeBook
from daemon.trade_files.trade_counts import described
from daemon.trade_files.trade_file import TradeFile

# A person waits for the answer; a file of years takes a minute.
_MOST_PIECES: Final = 1600
_NAME: Final = "trades"


def check_trades(config: Config, venue: VenueClock, status: Mapping[str, Any]) -> list[Check]:
    """Return a check for each source of trades: as the daemon tells, else read here.

    Args:
        config: Names the file.
        venue: The venue's clock.
        status: What the running daemon published; empty if none runs.
    """
    told = status.get("trades", {})
    found = [_check(msgspec.convert(each, TradesState), name) for name, each in told.items()]
    if config.trades.file and "file" not in told:
        found.append(_read(config, venue))
    return found


def _read(config: Config, venue: VenueClock) -> Check:
    """Read the file from its beginning, as far as a person waits."""
    path = config.trades.path
    try:
        if not path.exists():
            return Check(_NAME, note=f"{path} is not there yet: the bot makes it")
    except OSError as e:
        return Check(_NAME, f"{path}: {e.strerror}; run this as root, or as the daemon's user")
    book = TradeBook(venue)
    columns, counts = config.trades.columns, book.in_file
    file = TradeFile(path, columns, now_ms=venue.now_ms, counts=counts)
    sorter = TradeSorter([slot.name for slot in config.slots], book, path)
    try:
        for _ in range(_MOST_PIECES):
            trades = file.new()
            if trades is None:
                return _check(counts.state(), "file")
            sorter.owned(trades)
    except OSError as e:
        return Check(_NAME, f"{path}: {e}: let the daemon's user read it")
    finally:
        file.close()
    return _check(counts.state(), "beginning of the file")


def _check(state: TradesState, source: str) -> Check:
    text = f"{source}: {described(state)}"
    is_useless = not state.taken and (state.no_slot or state.bad)
    remedy = "; see `[trades]` in the documents: docs/howto/trades.md" if is_useless else ""
    if state.trouble or is_useless:
        return Check(_NAME, f"{text}{remedy}")
    return Check(_NAME, note=text)
