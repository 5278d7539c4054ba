"""Read fills as the venue, its web page and ccxt write them.

* The venue's `userFills`: coin, px, sz, side (B, A), dir, startPosition, closedPnl, fee, tid.
* Its page's export of the trade history: time, coin, dir, px, sz, ntl, fee, closedPnl.
* ccxt's `fetchMyTrades`: symbol, side, price, amount, fee, and the venue's own fill in `info`.
"""

import ast
import contextlib
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from daemon.core.coin_names import is_spot
from daemon.trade_files.closed_trade import BadTrade, OtherMarket, moment, number, side
from daemon.trade_files.fills import Fill

Record = Mapping[str, Any]

_BUYS: Final = ("open long", "close short", "short > long", "buy")
_SELLS: Final = ("open short", "close long", "long > short", "sell")
# The position is closed by the venue, at a loss or at a settled price.
_FORCED: Final = ("liquidat", "auto-delever", "settlement", "adl")
_CCXT_FEE: Final = re.compile(r"['\"]cost['\"]:\s*['\"]?([-\d.eE]+)")
_UNIT: Final = re.compile(r"(?<=\d) +[A-Za-z:]+$")  # `0.3 BTC`
_LONGEST: Final = 10_000
_ZERO_HASH: Final = re.compile(r"0x0*")


# What the venue's page calls its columns, and other spellings, without marks and case.
_VENUE: Final[Mapping[str, str]] = {
    **{each.casefold(): each for each in ("time", "coin", "dir", "px", "sz", "ntl", "fee", "side",
                                          "closedPnl", "startPosition", "tid", "oid", "hash")},
    "direction": "dir", "price": "px", "size": "sz", "tradevalue": "ntl",
}  # fmt: skip


@functools.lru_cache(4096)
def folded(name: str) -> str:
    """Return a name of a column without case and marks; a percent sign is no mere mark."""
    return re.sub(r"[^\w%]|_", "", name).casefold()


def with_venue_names(record: Record) -> Record:
    """Return a fill of the venue under its own names of columns, and anything else as it is."""
    if is_fill(record) or "trade_id" in record:
        return record
    names = {folded(name): name for name in record}
    if not {"px", "sz"} <= names.keys() and names.keys().isdisjoint({"dir", "direction"}):
        return record
    found = {_VENUE.get(fold, name): record[name] for fold, name in names.items()}
    return found if is_fill(found) and "time" in found else record


def is_fill(record: Record) -> bool:
    """Return whether a record is a fill of the venue or of ccxt."""
    venue = {"px", "sz", "coin"} <= record.keys() and not {"side", "dir"}.isdisjoint(record)
    return venue or _is_ccxt(record)


def read_fill(record: Record, repeats: Counter[str], *, comma: bool = False) -> Fill:
    """Read one fill.

    Args:
        record: What the file has.
        repeats: Counts equal fills without an id in one file, to tell them apart.
        comma: Whether a comma alone is a decimal one.

    Raises:
        OtherMarket: If it is of a spot market.
        BadTrade: If a field is missing or cannot be read.
    """
    if _is_ccxt(record):
        info = _read_back(record.get("info"))
        if isinstance(info, Mapping) and is_fill(info) and not _is_ccxt(info):
            return read_fill(info, repeats)
        return _ccxt(record, repeats, comma=comma)
    return _venue(record, repeats, comma=comma)


def _read_back(info: object) -> object:
    """Return a dictionary of Python, or an object of JSON, that a table holds as text."""
    if isinstance(info, str) and info.startswith("{") and len(info) < _LONGEST:
        for read in (json.loads, ast.literal_eval):
            with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                return read(info)
    return info


def _is_ccxt(record: Record) -> bool:
    return {"symbol", "side", "price", "amount"} <= record.keys() and not (
        {"timestamp", "datetime"}.isdisjoint(record)
    )


def _venue(record: Record, repeats: Counter[str], *, comma: bool) -> Fill:
    coin = str(record.get("coin") or "").strip()
    way = str(record.get("dir") or "").strip().lower()
    if is_spot(coin) or way == "spot dust conversion":
        raise OtherMarket(
            f"spot {coin[:40]}", f"{coin[:40]} is a spot market, which is not followed"
        )
    size = _decimal(record.get("sz"), "sz", comma=comma)
    start = record.get("startPosition")
    closed = record.get("closedPnl")
    px = number(record.get("px"), "px", comma=comma)
    if size <= 0 or px <= 0:
        raise BadTrade("size or price is not above 0", f"sz is {size}, px is {px}")
    return Fill(
        key=_key(record, repeats),
        coin=coin,
        at_ms=moment(record.get("time"), "time"),
        bought=_signed(size, record, way),
        px=px,
        fee=number(record.get("fee") or 0, "fee", comma=comma),
        pnl=None if _is_empty(closed) else number(closed, "closedPnl", comma=comma),
        net="ntl" in record and _is_empty(start),
        start=None if _is_empty(start) else _decimal(start, "startPosition", comma=comma),
        opens=_opens(way),
        interval=str(record.get("interval") or ""),
        user=str(record.get("user") or "").lower(),
    )


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _opens(way: str) -> bool | None:
    if way.startswith("open"):
        return True
    return False if any(each in way for each in ("close", *_FORCED)) else None


def _signed(size: Decimal, record: Record, way: str) -> Decimal | None:
    """Return the size of a fill, negative if sold; None if it closes all there is."""
    named = record.get("side")
    if not _is_empty(named):
        return size if side(named) == "buy" else -size
    forced = any(each in way for each in _FORCED)
    if any(each in way for each in _BUYS) or (forced and "short" in way):
        return size
    if any(each in way for each in _SELLS) or (forced and "long" in way):
        return -size
    if forced:
        return None
    raise BadTrade("dir is not known", f"dir is {record.get('dir')!r:.80}, and there is no side")


def _ccxt(record: Record, repeats: Counter[str], *, comma: bool) -> Fill:
    size = _decimal(record.get("amount"), "amount", comma=comma)
    px = number(record.get("price"), "price", comma=comma)
    if size <= 0 or px <= 0:
        raise BadTrade("size or price is not above 0", f"amount is {size}, price is {px}")
    at = record.get("timestamp")
    key = _key(record, repeats)
    return Fill(
        key=key,
        coin=str(record.get("symbol") or "").strip(),
        at_ms=moment(record.get("datetime") if _is_empty(at) else at, "timestamp"),
        bought=size if side(record.get("side")) == "buy" else -size,
        px=px,
        fee=_ccxt_fee(record, comma=comma),
        pnl=None,
        interval=str(record.get("timeframe") or ""),
    )


def _ccxt_fee(record: Record, *, comma: bool) -> float:
    """Return the fee of a fill of ccxt, or the sum of its fees where it has several."""
    fee = record.get("fee", record.get("fee.cost", record.get("fee_cost")))
    if isinstance(fee, Mapping):
        fee = fee.get("cost")
    elif isinstance(fee, str) and (cost := _CCXT_FEE.search(fee)):
        fee = cost[1]
    several = record.get("fees")
    if _is_empty(fee) and isinstance(several, list):
        costs = [each.get("cost") for each in several if isinstance(each, Mapping)]
        return sum(number(cost or 0, "fee", comma=comma) for cost in costs)
    return number(fee or 0, "fee", comma=comma)


def _key(record: Record, repeats: Counter[str]) -> str:
    """Return a name of a fill that is the same whenever and from wherever it is read."""
    tid, oid = record.get("tid"), record.get("oid", "")
    if tid and str(tid) != "0":
        return f"fill-{str(tid)[:40]}-{str(oid)[:40]}-{record.get('side', '')!s:.8}"
    if "symbol" in record and record.get("id"):
        return f"fill-{str(record['id'])[:100]}"
    fields = ("time", "timestamp", "coin", "symbol", "dir", "side", "px", "price", "sz", "amount")
    what = "|".join(str(record.get(name, "")) for name in fields)
    hash_ = str(record.get("hash") or "")
    if hash_ and not _ZERO_HASH.fullmatch(hash_):
        what += hash_
    digest = hashlib.sha256(what.encode("utf-8", "replace")).hexdigest()[:24]
    repeats[digest] += 1
    return f"fill-{digest}-{repeats[digest]}"


def _decimal(value: object, field: str, *, comma: bool) -> Decimal:
    """Return a size exactly as it is written, so that sums of pieces are the whole.

    Raises:
        BadTrade: If it is no finite number.
    """
    text = str(value).strip() if not isinstance(value, bool) else ""
    text = _UNIT.sub("", text)
    try:
        found = Decimal(text if "," not in text else str(number(text, field, comma=comma)))
    except InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite() or abs(found.adjusted()) > 40:  # noqa: PLR2004 - no such size
        raise BadTrade(f"{field} is no number", f"{field} is {value!r:.80}, must be a number")
    return found
