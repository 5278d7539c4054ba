"""Judge which coin and interval rows are of, by their columns, their file's name and headings."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from daemon.core.coin_names import coin_meant
from daemon.ingest.tables.columns import Columns, folded
from daemon.ingest.tables.reading import Bools, Floats, RawTable, printable
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import DAY_MS, HOUR_MS, INTERVAL_MS, MINUTE_MS

_WITH_INTERVAL: Final = re.compile(r"([A-Za-z]{2,9})(\d{1,2}(?:m|min|h|d))")
_EXCHANGES: Final = re.compile(
    r"^(?:binance|binanceus|coinbase|bitstamp|bitfinex|kraken|bybit|okx|okex|bitget|gateio|gate|"
    r"kucoin|mexc|bitmex|deribit|crypto|cryptocom|gemini|htx|huobi|phemex|dydx|index|x):",
    re.IGNORECASE,
)
# Names that exchanges of their own have for the same coin.
_ALIASES: Final = (
    (re.compile(r"^XXBTZ(?=USD)|^X?XBT(?![A-Z]{5})"), "BTC"),
    (re.compile(r"^XETHZ(?=USD)"), "ETH"),
    (re.compile(r"^t(?=[A-Z]{3,5}USD)"), ""),
    (re.compile(r"^P[FI]_XBT(?=USD)"), "BTC"),
    (re.compile(r"^P[FI]_(?=[A-Z0-9]+USD)"), ""),
)
_FULL_NAMES: Final = {
    "bitcoin": "BTC", "ethereum": "ETH", "ether": "ETH", "solana": "SOL", "dogecoin": "DOGE",
    "ripple": "XRP", "litecoin": "LTC", "cardano": "ADA", "avalanche": "AVAX",
}  # fmt: skip
_COIN: Final = re.compile(r"k?[A-Z0-9]*[A-Z][A-Z0-9]*")
_PAIR: Final = re.compile(r"(?:1000)?[A-Z0-9]{2,10}(?:EUR|GBP|BTC|ETH)(?:PERP)?")
_DOLLAR_PAIR: Final = re.compile(r"(?:1000)?[A-Z0-9]{2,10}(?:USDT|USDC|BUSD|FDUSD|USD)(?:PERP)?")
_QUOTE: Final = frozenset({"USDT", "USDC", "USD", "BUSD", "FDUSD", "EUR", "GBP", "PERP"})
_MOST_COINS: Final = 1000
_OTHER_MONEY: Final = frozenset(
    {"EUR", "GBP", "JPY", "KRW", "CHF", "AUD", "CAD", "NZD", "CNY", "CNH", "HKD", "SGD", "INR",
     "RUB", "TRY", "BRL", "MXN", "ZAR", "PLN", "SEK", "NOK", "DKK", "CZK", "HUF", "THB", "IDR"}
)  # fmt: skip
_PAIRED: Final = frozenset({"BTC", "ETH", "BNB"})
_MAJOR: Final = frozenset(
    {"BTC", "ETH", "SOL", "XRP", "DOGE", "BNB", "ADA", "AVAX", "HYPE", "LTC", "SUI", "XBT"}
)
# In small letters a name is a pair only if no other word begins as it does: `ethbtc`, not `steth`.
_MAJOR_PAIR: Final = re.compile(rf"(?:{'|'.join(sorted(_MAJOR))})(?:EUR|GBP|BTC|ETH)")
_NO_VALUES: Final = frozenset({"nan", "null", "none", "-", "n/a", "true", "false"})
# Words in names of files that stand where a coin could.
_NO_COINS: Final = _QUOTE | {
    *("OHLCV", "OHLC", "DATA", "PRICE", "PRICES", "HISTORY", "CANDLE", "CANDLES", "BAR", "BARS"),
    *("KLINE", "KLINES", "EXPORT", "TEST", "SPOT", "FUTURES", "FUNDING", "UTC", "MY", "THE", "ALL"),
    *("BINANCE", "COINBASE", "KRAKEN", "BYBIT", "BITGET", "OKX", "MEXC", "ONE", "FILE", "DUMP"),
    *("HYPERLIQUID", "BITSTAMP", "BITFINEX", "BITMEX", "DERIBIT", "GEMINI", "KUCOIN", "HUOBI"),
    *("PHEMEX", "GATEIO"),
}
_UNIT_MS: Final = {
    "s": 1000, "sec": 1000, "second": 1000, "m": MINUTE_MS, "min": MINUTE_MS, "t": MINUTE_MS,
    "minute": MINUTE_MS, "h": HOUR_MS, "hr": HOUR_MS, "hour": HOUR_MS, "d": DAY_MS, "day": DAY_MS,
    "w": 7 * DAY_MS, "week": 7 * DAY_MS, "wk": 7 * DAY_MS, "mo": 30 * DAY_MS,
    "month": 30 * DAY_MS, "mon": 30 * DAY_MS,
}  # fmt: skip
_COUNTS: Final = ("one", "two", "three", "four", "five", "six", "eight", "ten", "twelve", "fifteen",
                  "thirty")  # fmt: skip
_NUMBERS: Final = dict(zip(_COUNTS, (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 30), strict=True))
_INTERVAL: Final = re.compile(
    rf"p?t?(?P<first>\d{{0,6}}|{'|'.join(_COUNTS)})[\s_-]*(?P<unit>[a-z]+?)s?[\s_-]*(?P<last>\d{{0,6}})"
)


def is_coin(name: str, coin: str) -> bool:
    """Return whether a name of a coin, pair or market means the coin, priced in dollars."""
    name = name.strip()
    if coin_meant(name, (coin,)) or _FULL_NAMES.get(name.casefold()) == coin:
        return True
    bare = _EXCHANGES.sub("", name)
    for pattern, known_as in _ALIASES:
        bare = pattern.sub(known_as, bare)
    return bare != name and coin_meant(bare, (coin,)) is not None


def interval_ms(text: str) -> set[int]:
    """Return what a name of an interval may mean, ms: `5m`, `PT5M`, `FIVE_MINUTE`, `300`."""
    text = text.strip()
    if re.fullmatch(r"\d{1,12}(\.0)?", text):
        number = int(float(text))
        return {number * MINUTE_MS, number * 1000, number}
    if text == "1M":  # the only name whose case counts
        return {_UNIT_MS["month"]}
    words = text.casefold().replace("hourly", "hour").replace("daily", "day")
    found = _INTERVAL.fullmatch(words)
    if found is None or found["unit"] not in _UNIT_MS:
        return set()
    count = found["first"] or found["last"] or "1"
    return {int(_NUMBERS.get(count) or count) * _UNIT_MS[found["unit"]]}


def of_coin(table: RawTable, columns: Columns, coin: str) -> tuple[Bools, list[str], bool]:
    """Judge which rows are of a coin.

    Returns:
        Which rows are, shape (rows,), the names of others (a few), and whether rows say it.

    Raises:
        BadInput: If the file as a whole says another coin.
    """
    rows = np.ones(table.rows, dtype=np.bool_)
    others: list[str] = []
    if not coin:
        return rows, others, False
    maybe = ((name, _texts(table.column(name))) for name in columns.maybe_coins)
    names = [_texts(table.column(name)) for name in columns.coins]
    names += [texts for name, texts in maybe if _are_coins(name, texts[0], coin)]
    if columns.quotes and columns.coins and folded(columns.coins[0]).startswith("base"):
        names[0] = _joined(names[0], _texts(table.column(columns.quotes[0])))
    for texts in names:
        here, others_here = _matching(texts, lambda name: is_coin(name, coin))
        rows &= here
        others += others_here
    for name in columns.quotes:
        texts = _texts(table.column(name))
        here, other_quotes = _matching(texts, lambda q, name=name: _may_be_dollars(q, name))
        rows &= here
        others += [f"{coin} priced in {quote}" for quote in other_quotes]
    for quote in _said(table, ("quote", "quotecurrency", "quoteasset", "currency")):
        if not _may_be_dollars(quote, "currency"):
            raise BadInput(f"{table.path} says that its prices are in {quote}, not in dollars")
    said = _said(table, ("coin", "symbol", "s", "pair", "ticker", "instid", "base"))
    for name in said:
        if not is_coin(name, coin):
            raise BadInput(f"{table.path} says that it is of {name}, not {coin}")
    return rows, others, bool(names or said)


def _may_be_dollars(quote: str, column: str) -> bool:
    """Return whether a currency of prices is not surely another one than dollars.

    A column `currency` may also hold the coin itself.
    """
    coins = _PAIRED if folded(column).startswith("quote") else frozenset[str]()
    return quote.upper() not in _OTHER_MONEY | coins


def _are_coins(column: str, names: Iterable[str], coin: str) -> bool:
    """Return whether the values of a column are names of coins, as far as they are known."""
    values = [name for name in names if name and name.casefold() not in _NO_VALUES]
    if any(re.search(r"(?<!\d)(19|20)\d\d", name) for name in values):
        return False  # they name rows, with their dates
    if len(values) > _MOST_COINS:
        return False
    sure = re.search(r"symbol|ticker|coin|pair|token|crypto", folded(column)) is not None
    known = [
        name for name in values
        if is_coin(name, coin) or name.casefold() in _FULL_NAMES or _named_coins(name)
        or (sure and _COIN.fullmatch(name) and name.upper() not in _NO_COINS)
    ]  # fmt: skip
    return bool(known) and 2 * len(known) >= len(values)


def of_interval(
    table: RawTable, columns: Columns, wanted_ms: int | None
) -> tuple[Bools, int | None, list[str]]:
    """Judge which rows are of an interval, or of the longest one that it can be made of.

    Returns:
        Which rows are, shape (rows,), the interval that they say, ms (None if they do not), and
        the names of others.

    Raises:
        BadInput: If all rows say an interval that is none or longer.
    """
    rows = np.ones(table.rows, dtype=np.bool_)
    said = _said(table, ("i", "interval", "timeframe", "granularity", "resolution"))
    if not columns.intervals and not said:
        return rows, None, []
    texts = (
        _texts(table.column(columns.intervals[0])) if columns.intervals else _only(said[0], rows)
    )
    names = [name for name in texts[0] if name]
    meant = {name: interval_ms(name) for name in names}
    sure = {name: min(ms) for name, ms in meant.items() if len(ms) == 1}
    if wanted_ms is None:
        wanted_ms = next(iter(sure.values())) if len(sure) == len(names) == 1 else None
        if wanted_ms is None:
            return rows, None, []
    target = longest_part(meant, wanted_ms)
    if target is None:
        shown = ", ".join(names[:6])
        raise BadInput(f"{table.path} holds bars of {shown}: give it with that --interval")
    here, others = _matching(texts, lambda name: target in meant.get(name, set()))
    return here, target, others


def row_intervals(column: Any) -> Floats | None:
    """Return the interval of each row, ms, shape (rows,); None if a row does not surely say it.

    Args:
        column: Arrow array with names of intervals.
    """
    names, where = _texts(column)
    meant = [interval_ms(name) for name in names]
    if any(len(ms) != 1 for ms in meant):
        return None
    return np.array([min(ms) for ms in meant], dtype=np.float64)[where]


def longest_part(meant: Mapping[str, set[int]], wanted_ms: int) -> int | None:
    """Return the interval to take: the wanted one, or the longest that divides it.

    Args:
        meant: What each name of an interval may mean, ms.
        wanted_ms: The wanted one, ms.
    """
    if any(wanted_ms in ms for ms in meant.values()):
        return wanted_ms
    lengths = set(INTERVAL_MS.values())
    sure = [ms if len(ms) == 1 else ms & lengths for ms in meant.values()]
    parts = [min(ms) for ms in sure if len(ms) == 1]
    return max((ms for ms in parts if ms < wanted_ms and wanted_ms % ms == 0), default=None)


def name_says(path: Path, words: Iterable[str], coin: str) -> str:
    """Return the other coin that the name of a file or a heading names; "" if none does."""
    if ":" in coin and _bare(coin) in _bare(path.name):
        return ""  # other programs write xyz:TSLA in ways of their own
    stem = re.sub(r"\.(csv|txt|tsv|json|jsonl|ndjson|parquet|feather|gz|zip|bz2|xz|zst)\b.*", "",
                  path.name, flags=re.IGNORECASE)  # fmt: skip
    for text in (stem, *words):
        if text.startswith("http"):
            continue
        named = _named_coins(text)
        if named and not any(is_coin(name, coin) for name in named):
            return named[0]
    return ""


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _named_coins(text: str) -> list[str]:
    tokens = re.split(r"[^A-Za-z0-9]+", text)
    found = []
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        first, second = token, after
        if glued := _WITH_INTERVAL.fullmatch(token):  # ETH5m
            first, second = glued[1], glued[2]
        first = _FULL_NAMES.get(first.casefold(), first)
        if first.upper() in _NO_COINS:
            continue
        is_coin_ = _COIN.fullmatch(first) is not None or first.upper() in _MAJOR
        if is_coin_ and second.upper() in _QUOTE:
            found.append(f"{first}/{second}" if second.upper() != "PERP" else first)
        elif _PAIR.fullmatch(first) or _MAJOR_PAIR.fullmatch(first.upper()) or (
            _DOLLAR_PAIR.fullmatch(first.upper())
        ):  # fmt: skip
            found.append(first)
        else:
            begins = token == tokens[0] and _COIN.fullmatch(first) is not None
            before_interval = begins and interval_token(second) is not None
            found += [first] * (first.upper() in _MAJOR or before_interval)
    return found


def looks_like_coin(name: str) -> bool:
    """Return whether a word may be the name of a coin or pair."""
    is_word = _COIN.fullmatch(name) is not None and name.upper() not in _NO_COINS
    return is_word or bool(_named_coins(name))


def interval_token(token: str) -> int | None:
    """Return the interval that a part of a file's name says, ms; None if it says none."""
    if not re.fullmatch(r"\d+(?:s|m|min|h|d|w|M)", token):
        return None
    return next(iter(interval_ms(token)), None)


def name_interval(path: Path) -> int | None:
    """Return the interval that the name of a file says, ms; None if it says none or several."""
    tokens = re.split(r"[^A-Za-z0-9]+", path.name)
    found = {ms for token in tokens if (ms := interval_token(token)) is not None}
    return found.pop() if len(found) == 1 else None


def _said(table: RawTable, roles: Iterable[str]) -> list[str]:
    """Return what a document says of all its rows."""
    wanted = set(roles)
    return [value for key, value in table.says.items() if folded(key) in wanted]


Texts = tuple[list[str], Any]  # distinct texts, and which of them each row has


def _texts(column: Any) -> Texts:
    import pyarrow as pa  # noqa: PLC0415 - takes 0.1 s, and other commands do not need it

    encoded = column.cast(pa.string()).fill_null("").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = pa.concat_arrays(encoded.chunks)
    encoded = encoded.dictionary_encode()
    names = [printable(str(name).strip()) for name in encoded.dictionary.to_pylist()]
    return names, encoded.indices.to_numpy()


def _only(text: str, rows: Bools) -> Texts:
    return [text], np.zeros(len(rows), dtype=np.int64)


def _joined(base: Texts, quote: Texts) -> Texts:
    pairs = np.stack([base[1], quote[1]], axis=1)
    distinct, where = np.unique(pairs, axis=0, return_inverse=True)
    names = [f"{base[0][one]}/{quote[0][other]}" for one, other in distinct.tolist()]
    return names, where.ravel()


def _matching(texts: Texts, fits: Any) -> tuple[Bools, list[str]]:
    names, where = texts
    good = np.array([fits(name) for name in names], dtype=np.bool_)
    others = [name or "no name" for name, yes in zip(names, good, strict=True) if not yes]
    return (good[where] if len(names) else np.ones(0, dtype=np.bool_)), others
