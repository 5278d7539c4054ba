"""Recognise a coin by the names that other programs give to its market.

Freqtrade and ccxt write `BTC/USDC:USDC`, chart sites `BTCUSDT.P`, exchanges `BTC-PERP`. A name
is only compared with coins that are wanted, never guessed, so that none is taken for another.
"""

import re
from collections.abc import Collection
from typing import Final

from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName, interval_name

# A price in these is one in dollars.
_DOLLARS: Final = frozenset({"usd", "usdc", "usdt", "usdt0", "usde", "usdh", "busd", "fdusd"})
# What exchanges append to the name of a perpetual contract.
_PERPETUAL: Final = frozenset({"perp", "perpetual", "swap", "p"})
_GLUED: Final = re.compile(r"(.+?)(?:(?:usdt0?|usd[ceh]?|busd|fdusd)(?:perp)?|perp)")
_EXCHANGE: Final = re.compile(r"hyperliquid:|\.hyperliquid$")
_THOUSAND: Final = re.compile(r"^1000(?=[a-z])")


def is_spot(name: str) -> bool:
    """Return whether the venue itself uses this name for a spot market: `@107`, `PURR/USDC`."""
    return name.startswith(("@", "+")) or "/" in name


def coin_meant(name: str, coins: Collection[str]) -> str | None:
    """Return which of `coins` a name means; None if it means none of them, or may mean two.

    The venue's own spelling goes first. Otherwise case does not count, a pair must be in
    dollars, and the coin of a builder's exchange needs its prefix: `XYZ-TSLA` is `xyz:TSLA`.
    `1000PEPE` is `kPEPE`. Contracts that expire, and pairs like `ETH/BTC`, mean none.

    Args:
        name: A coin, pair or market, as a person or a program wrote it.
        coins: The coins it may mean, as the venue writes them.
    """
    name = name.strip()
    if name in coins:
        return name
    bases = _bases(name.casefold())
    found = {coin for coin in coins if _folded(coin.casefold()) in bases}
    return found.pop() if len(found) == 1 else None


def slots_meant(
    slots: Collection[SlotName], *, coin: str = "", interval: str = "", slot: str = ""
) -> list[SlotName]:
    """Return the slots that a row may belong to: none, one, or several of one coin.

    Args:
        slots: The slots there are.
        coin: What the row says of its coin or pair; "" if it says nothing.
        interval: What it says of its interval, `5m`, or minutes, `5`; "" if nothing.
        slot: What it says of its slot, `BTC-5m`; "" if nothing.
    """
    if slot:
        coin, dash, interval = slot.strip().rpartition("-")
        if not dash or _interval(interval) is None:
            coin, interval = slot, ""  # a coin alone, like BTC or BTC-PERP
    found = list(slots)
    if coin:
        meant = coin_meant(coin, {each.coin for each in slots})
        found = [each for each in found if each.coin == meant]
    if interval:
        named = _interval(interval)
        found = [each for each in found if each.interval == named]
    return found


def _interval(text: str) -> str | None:
    """Return the venue's name of an interval, None if it has none such."""
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,5}", text):  # minutes, as freqtrade stores them
        minutes = int(text)
        text = {60: "1h", 120: "2h", 240: "4h", 480: "8h", 720: "12h", 1440: "1d"}.get(
            minutes, f"{minutes}m"
        )
    try:
        return interval_name(text.casefold())
    except BadInput:
        return None


def _folded(coin: str) -> str:
    """Return a coin in lower case as all of its spellings have it."""
    return _THOUSAND.sub("k", coin.replace(":", "-"))


def _bases(name: str) -> set[str]:
    """Return the folded coins that a name in lower case can be a market of."""
    name = _EXCHANGE.sub("", name).removesuffix(".p")
    found = {_folded(name)}
    if "/" in name:
        base, _, rest = name.partition("/")
        quote, colon, settled = rest.partition(":")
        in_dollars = quote in _DOLLARS and (not colon or settled in _DOLLARS)
        return {_folded(base)} if in_dollars else set()
    tokens = re.split(r"[-_ ]", name)
    while len(tokens) > 1 and tokens[-1] in _DOLLARS | _PERPETUAL:
        tokens.pop()
        found.add(_folded("-".join(tokens)))
    if len(tokens) == 1 and (glued := _GLUED.fullmatch(tokens[0])):
        found.add(_folded(glued[1]))
    return found
