"""Decide which column is what, by its name or by what a person says."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from daemon.core.coin_names import coin_meant
from daemon.ingest.tables.rate_units import RATE_UNIT, spaced
from daemon.ingest.tables.reading import RawTable, Wanted
from hyperdrift.errors import BadInput

# Names without spaces, marks and case, in the order in which they are preferred.
OPEN_TIMES: Final = (
    *("opentime", "opentimestamp", "timeperiodstart", "timeopen", "candlebegintime", "starttime"),
    *("start", "startat", "startts", "begin", "periodstart", "bucket", "startedat", "beginsat"),
    *("topen", "dateopen", "openat", "opendt"),
)
TIMES: Final = (
    *("unix", "unixtime", "unixtimestamp", "epoch", "timestampms", "timems", "ts", "timestamp"),
    *("t", "time", "datetime", "date", "dateutc", "timeutc", "datetimeutc", "utctime", "utc"),
    *("gmttime", "localtime", "candletime", "ticks", "dt", "day", "dtyyyymmdd"),
    *("datum", "zeit", "zeitstempel", "horodatage", "fecha", "data"),
    *("epochs", "timestamputc", "timestampunix", "dateandtime", "datetimeoriginal"),
)
FUNDING_TIMES: Final = (
    *("fundingtime", "calctime", "settletime", "settledat", "fundingtimestamp"),
    *("fundingratetimestamp", "timestampoffunding", "effectiveat"),
)
CLOSE_TIMES: Final = (
    *("closetime", "closetimestamp", "timeperiodend", "timeclose", "candleendtime", "endtime"),
    *("end", "periodend", "closedat", "closeat", "endat", "endedat", "tclose"),
    *("closets", "endts", "tend", "tsend", "tsclose", "timeend", "timeclosed", "closedtime"),
    *("closedate", "dateclose", "enddate", "dateend", "closedatetime", "datetimeclose"),
    *("enddatetime", "datetimeend", "closingtime", "endingtime"),
)
# A word for the end of a bar beside the name of a time: `Time (close)`, `Date (end of bar)`.
_CLOSE_WORD: Final = re.compile(r"\b(?:close[ds]?|closing|end(?:s|ed|ing)?)\b", re.IGNORECASE)
_INDEXES: Final = ("", "index", "unnamed0", "level0", "price")  # the last as yfinance has it
_DAYS: Final = ("date", "day", "dtyyyymmdd", "datum", "fecha", "data")
_CLOCKS: Final = ("time", "hour", "timeofday", "clock", "timestamp", "uhrzeit", "zeit", "heure",
                  "hora", "ora")  # fmt: skip
# Beside open, high and low these are the close: of chart sites, whose fourth price is the newest.
_NEWEST: Final = ("last", "lastprice", "price", "zuletzt", "dernier", "ultimo")
# Spreadsheets of other languages; accents do not count.
_TRANSLATED: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("eroffnung", "eroffnungskurs", "ouverture", "apertura", "abertura"),
    "high": ("hoch", "hochst", "hochstkurs", "haut", "plushaut", "maximo", "maxima", "massimo"),
    "low": ("tief", "tiefst", "tiefstkurs", "bas", "plusbas", "minimo", "minima"),
    "close": ("schluss", "schlusskurs", "cloture", "fermeture", "cierre", "chiusura",
              "fechamento", *_NEWEST),
}  # fmt: skip
_PRICES: Final[Mapping[str, tuple[str, ...]]] = {
    name: (name[0], name, f"{name}price", f"price{name}", f"{name}px", *_TRANSLATED[name])
    for name in ("open", "high", "low", "close")
}
VOLUME: Final = ("volume", "v", "vol", "basevolume", "volumebase", "volumefrom", "volumetraded",
                 "volumeinbase", "baseassetvolume", "volumecoin", "basetokenvolume",
                 "realvolume", "volumen")  # fmt: skip
MAY_COUNT: Final = re.compile(r"vol|quote|turnover|notional|currency|usd|eur|amount|^(q|sum|cost)$")
"""What the folded name of a column may have that counts what was traded, in whatever unit."""
# Beside such a column the volume is in dollars, or counts contracts.
_IN_DOLLARS: Final = frozenset({"marketcap", "homenotional"})
_COUNTS: Final = ("n", "trades", "count", "tradecount", "tradescount", "numberoftrades",
                  "numtrades", "transactions")  # fmt: skip
COINS: Final = ("coin", "symbol", "s", "pair", "ticker", "tic", "instid", "instrumentid",
                 "instrumentname", "currencypair", "productid", "symbolid", "base", "basecurrency",
                 "baseasset", "basecoin")  # fmt: skip
# Names that also stand for something else, and count where none of the others is there.
_PERHAPS_COINS: Final = ("asset", "instrument", "contract", "market", "product")
# Names that may be of a column of coins, which its values tell, where none of those is there.
_MAYBE_COINS: Final = re.compile(
    r"^(name|names|code|sym|id|key|perp|slug|underlying|currency)$|"
    r"symbol|ticker|coin|pair|token|crypto|asset|market|instrument|contract|security|product"
)
_NEVER_COINS: Final = re.compile(
    r"quote|margin|settle|fee|collateral|cap|vol|price|rate|time|date|count|num|type|size|value"
)
TIME_ZONES: Final = frozenset({"tz", "timezone", "tzname", "timezonename", "utcoffset", "gmtoffset",
                               "tzoffset", "timezoneoffset", "offset"})  # fmt: skip
# What stands around the name of a time: `kline_open_time`, `open_time_ms`, `ts_ms`.
_AROUND_TIME: Final = re.compile(
    r"^(?:kline|candle|bar|interval|window|timestamp)?(\w{2,}?)(?:ms|us|ns|sec|utc)?$"
)
_INTERVALS: Final = ("i", "interval", "timeframe", "tf", "resolution", "granularity", "barsize",
                     "per", "periodid", "candleinterval", "kline", "frequency", "freq")  # fmt: skip
_CLOSED: Final = ("x", "closed", "isclosed", "isfinal", "final", "confirm", "confirmed",
                  "complete", "iscomplete")  # fmt: skip
_QUOTES: Final = ("quote", "quotecurrency", "quoteasset", "quotecoin", "currency", "pricecurrency")
_RATES: Final = ("rate", "fundingrate", "funding", "lastfundingrate", "realizedrate",
                 "realisedrate", "fundingraterealized", "relativefundingrate", "")  # fmt: skip
_DOLLARS: Final = frozenset({"usd", "usdc", "usdt", "usde", "usdh", "busd", "fdusd", "$"})
# One-letter names differ by case: the venue and Binance have t and T, l and L, v and V.
_CASED: Final = frozenset("tTsSiIoOhHlLcCvVnNxXqQ")

FUNDING_HOURS: Final = frozenset({"fundingintervalhours", "intervalhours", "fundinginterval"})
OWN_MONEY: Final = frozenset(
    {"payment", "usdc", "sz", "szi", "side", "fee", "closedpnl", "direction", "fundingpayment",
     "fundingfee", "positionsize", "size", "income", "amount", "paid", "fundingfees", "dir"}
)  # fmt: skip


@dataclass(slots=True)
class Columns:
    """Names of columns by role, as a table has them; "" where no column has a role.

    Attributes:
        values: The column of open, high, low, close, volume, n or rate.
        times: Columns that may be the time, the most likely first.
        closes: Columns of the time at which a bar closes.
        day: The column of the day, if the time of day stands in `clock`.
        clock: The column of the time of day.
        coins: Columns that name a coin or pair.
        maybe_coins: Columns that may do so, where no column surely does.
        intervals: Columns that name an interval.
        closed: Columns that tell whether a bar has closed.
        quotes: Columns that name the currency of prices.
        time_said: Whether a person named the column of the time.
        notes: What was judged.
    """

    values: dict[str, str] = field(default_factory=dict)
    times: list[str] = field(default_factory=list)
    closes: list[str] = field(default_factory=list)
    day: str = ""
    clock: str = ""
    coins: list[str] = field(default_factory=list)
    maybe_coins: list[str] = field(default_factory=list)
    intervals: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    time_said: bool = False
    notes: list[str] = field(default_factory=list)


def folded(name: str) -> str:
    """Return a name without case, accents, marks and numbering; one letter keeps its case."""
    if not name.isascii():
        name = "".join(
            c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)
        )
    name = re.sub(r"^\d+[a-z]?\.\s+", "", name.strip().strip("<>\"'#*").strip())
    plain = re.sub(r"[\s_\-./()\[\]:,]+", "", name)
    return plain if plain in _CASED else plain.casefold()


def _time_name(name: str) -> str:
    """Return the folded name of a time without what stands in brackets; "" if it is no time."""
    bare = folded(re.sub(r"\s*[(\[].*", "", name))
    if bare in (*OPEN_TIMES, *TIMES) and names_close(name):
        return "closetime"
    known = (*OPEN_TIMES, *TIMES, *CLOSE_TIMES)
    if bare in {*known, "T"}:
        return bare
    around = _AROUND_TIME.fullmatch(bare)
    return around[1] if around and around[1] in known and not bare.isdecimal() else ""


def names_close(name: str) -> bool:
    """Return whether the name of a time says that it is the end of a bar."""
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ")
    has_word = _CLOSE_WORD.search(words) and not re.search("(?i)open|start|begin", words)
    return folded(name) in CLOSE_TIMES or bool(has_word)


def value_role(name: str) -> str:
    """Return which value of a bar a name means; "" if none."""
    plain = folded(name)
    prices = (role for role, names in _PRICES.items() if plain in names)
    return next(prices, "volume" if plain in VOLUME else "")


def is_known(name: str) -> bool:
    """Return whether a word is a name that the header of a table may have."""
    plain = folded(name)
    return plain not in TIME_ZONES and _has_role(plain, name)


def useful(names: Sequence[str], wanted: Wanted) -> list[int]:
    """Return the numbers of the columns that can have a role, from 0."""
    said = {folded(name) for name in wanted.columns.values()}
    numbers = {int(name) - 1 for name in wanted.columns.values() if name.isdecimal()}
    return [
        number
        for number, name in enumerate(names)
        if number in numbers or folded(name) in said or _is_useful(folded(name), name)
        or not name.strip() or number == 0
    ]  # fmt: skip


def _is_useful(plain: str, name: str) -> bool:
    may = plain in TIME_ZONES or _may_name_coins(plain) or MAY_COUNT.search(plain) is not None
    return may or _has_role(plain, name)


def _has_role(plain: str, name: str) -> bool:
    single = (*OPEN_TIMES, *TIMES, *FUNDING_TIMES, *CLOSE_TIMES, *_CLOCKS, "T", *VOLUME, *_COUNTS,
              *COINS, *_PERHAPS_COINS, *_INTERVALS, *_CLOSED, *_QUOTES, *OWN_MONEY)  # fmt: skip
    if plain in single or _time_name(name) or any(plain in names for names in _PRICES.values()):
        return True
    return "volume" in plain or bool(plain and names_rate(name)) or (
        _with_unit(plain, "open") or _with_unit(plain, "close") or plain in _CASED
        or _with_unit(plain, "high") or _with_unit(plain, "low")
        or plain in FUNDING_HOURS
    )  # fmt: skip


def _may_name_coins(plain: str) -> bool:
    return bool(_MAYBE_COINS.search(plain)) and not _NEVER_COINS.search(plain)


def _with_unit(plain: str, role: str) -> bool:
    return plain.startswith(role) and plain[len(role) :] in _DOLLARS


def names_rate(name: str) -> bool:
    """Return whether the name of a column is that of a rate, its unit aside."""
    has_unit = RATE_UNIT.search(spaced(name)) is not None
    base = folded(RATE_UNIT.sub(" ", spaced(name)))
    return base in _RATES and (bool(base) or has_unit)


def assign(table: RawTable, wanted: Wanted) -> Columns:
    """Decide which column has which role.

    Raises:
        BadInput: If `--columns` names a column that is none, or two have the same role.
    """
    found = Columns()
    by_fold: dict[str, list[str]] = {}
    for name in table.names:
        by_fold.setdefault(_time_name(name) or folded(name), []).append(name)
    if table.header:
        for role, options in (
            *_PRICES.items(), ("n", _COUNTS), ("volume", VOLUME),
        ):  # fmt: skip
            if chosen := _one(table, by_fold, role, options):
                found.values[role] = chosen
        if folded(close := found.values.get("close", "")) in _NEWEST:
            found.notes.append(f"close from {close}")
        _choose_volume(found, by_fold, wanted.coin)
        if not _IN_DOLLARS.isdisjoint(map(folded, table.all_names or table.names)):
            found.values.pop("volume", None)
        _assign_times(table, by_fold, found)
        found.coins = _all(by_fold, COINS) or _all(by_fold, _PERHAPS_COINS)
        if not found.coins:
            found.maybe_coins = [name for name in table.names if _may_name_coins(folded(name))]
        found.intervals = _all(by_fold, _INTERVALS)
        found.closed, found.quotes = _all(by_fold, _CLOSED), _all(by_fold, _QUOTES)
        rates = list(filter(names_rate, table.names))
        if rates:
            found.values["rate"] = rates[0]
    _obey(table, found, by_fold, wanted)
    return found


def _assign_times(table: RawTable, by_fold: Mapping[str, list[str]], found: Columns) -> None:
    found.times = _all(by_fold, (*OPEN_TIMES, *FUNDING_TIMES, *TIMES))
    found.closes = _all(by_fold, (*CLOSE_TIMES, "T"))
    found.day = next(iter(_all(by_fold, _DAYS)), "")
    found.clock = next(iter(_all(by_fold, _CLOCKS)), "")
    if "homenotional" in map(folded, table.all_names or table.names):
        # Only BitMEX has it, which stamps its bars by their close.
        found.times, found.closes = [], found.closes or found.times
    elif not found.times and not found.closes:
        # Some exporters put the time into an index without a name.
        found.times = [
            name for name in _all(by_fold, _INDEXES)
            if folded(name) != "price" or name == table.names[0]
        ]  # fmt: skip


def _all(by_fold: Mapping[str, list[str]], options: Sequence[str]) -> list[str]:
    return [name for option in options for name in by_fold.get(option, ())]


def _one(
    table: RawTable, by_fold: Mapping[str, list[str]], role: str, options: Sequence[str]
) -> str:
    """Return the column of a role; the exact spelling of one letter goes before its capital."""
    with_units = [
        name
        for fold in by_fold
        if role in _PRICES and _with_unit(fold, role)
        for name in by_fold[fold]
    ]
    for option in (*options, *(each.upper() for each in options if len(each) == 1)):
        same = by_fold.get(option, [])
        if len(same) > 1:
            raise BadInput(
                f"{table.path} has {len(same)} columns for {role} ({', '.join(same)}): "
                "rename all but one"
            )
        if same:
            return same[0]
    return with_units[0] if with_units else ""


def _choose_volume(found: Columns, by_fold: Mapping[str, list[str]], coin: str) -> None:
    """Take the column whose name says that it counts the coin, where no plain one is there."""
    if "volume" in found.values:
        return
    for fold, names in by_fold.items():
        unit = re.sub(r"^(trade)?volume(in|of)?|volume$", "", fold)
        if "volume" in fold and unit and coin and coin_meant(unit, (coin,)) and (
            unit == coin.casefold()
        ):  # fmt: skip
            found.values["volume"] = names[0]
            found.notes.append(f"volume from {names[0]}")
            return


def _obey(
    table: RawTable, found: Columns, by_fold: Mapping[str, list[str]], wanted: Wanted
) -> None:
    """Put the columns that a person names in the place of those that were found."""
    for role, said in wanted.columns.items():
        name = _named(table, by_fold, said) if said else ""
        match role:
            case "time":
                is_close = name in found.closes or names_close(name)
                found.times = [name] if name else []
                found.closes = found.times * is_close
                found.time_said = True
                found.clock = name if "date" in wanted.columns else ""
            case "date":
                found.day = name
            case "coin":
                found.coins, found.quotes = ([name] if name else []), []
                found.maybe_coins = []
            case "interval":
                found.intervals = [name] if name else []
            case _:
                found.values[role] = name
                if not name:
                    del found.values[role]


def _named(table: RawTable, by_fold: Mapping[str, list[str]], said: str) -> str:
    if said in table.names:
        return said
    if len(same := by_fold.get(folded(said), [])) == 1:
        return same[0]
    if said.isdecimal() and 0 < int(said) <= len(names := table.all_names or table.names):
        return names[int(said) - 1]
    raise BadInput(f"{table.path} has no column {said!r}: it has {table.listed()}")
