"""Run freqtrade's command line without a network: markets are given, and no socket connects.

It runs in freqtrade's environment: `python freqtrade_offline.py backtesting ...`.
"""

import socket
import sys
from typing import Any, NoReturn

import ccxt.pro
from freqtrade.main import main


def market(coin: str) -> dict[str, Any]:
    """Return a perp as the venue describes it."""
    return {
        "name": coin,
        "baseId": 0,
        "szDecimals": 5,
        "maxLeverage": 40,
        "markPx": "100.0",
        "openInterest": "1000",
    }


async def fetch_markets(self: Any, params: Any = None) -> list[Any]:
    self.options |= {"hip3TokensByName": {}, "cachedCurrenciesById": {}}
    return [self.parse_market(market(coin)) for coin in ("BTC", "ETH", "kPEPE")]


async def fetch_currencies(self: Any, params: Any = None) -> dict[str, Any]:
    return {}


def refuse(*_: Any) -> NoReturn:
    raise OSError("no network in this test")


if __name__ == "__main__":
    ccxt.pro.hyperliquid.fetch_markets = fetch_markets
    ccxt.pro.hyperliquid.fetch_currencies = fetch_currencies
    socket.socket.connect = refuse  # type: ignore[method-assign]
    main(sys.argv[1:])
