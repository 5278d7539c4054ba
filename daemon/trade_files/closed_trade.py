"""A closed trade as a file has it, and the judgement of its fields.

Every reader of a file ends here, so that times, sides and numbers are judged by one rule.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from daemon.trade_files.page_dates import plain
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import MINUTE_MS

FUTURE_MS: Final = 5 * MINUTE_MS
"""The venue's clock and a bot's may differ by so much."""
LONGEST_NAME: Final = 200
"""As in the messages of a bot: names are stored."""

EMPTY: Final = frozenset({"", "nan", "nat", "none", "null", "undefined", "<na>", "n/a", "-"})
"""What programs write where they have no value, in lower case."""

_SIDES: Final = {
    **dict.fromkeys(("buy", "long", "b", "bid", "l"), "buy"),
    **dict.fromkeys(("sell", "short", "a", "ask", "s"), "sell"),  # the venue itself uses B and A
}
# Words beside a side that change nothing: `open_long`, `BUY_LONG`, `Short position`.
_BESIDE_SIDES: Final = frozenset(
    {"open", "to", "entry", "enter", "position", "order", "market", "limit"}
)
# A number is a time in s, ms, us or ns, whichever puts it into the years 1973 to 5138.
_UNITS: Final = ((1e11, 1000.0), (1e14, 1.0), (1e17, 1e-3), (1e20, 1e-6))
_FIRST_MS: Final = 946_684_800_000  # 2000: nobody traded a perpetual before
_LAST_MS: Final = 4_102_444_800_000  # 2100
_DECIMAL_COMMA: Final = re.compile(r"[-+]?\d+,\d+")
# So written, a comma is a decimal one in any file.
_SURELY_DECIMAL: Final = re.compile(r"[-+]?(\d+,(\d{1,2}|\d{4,})|0,\d+|\d{1,3}(\.\d{3})+,\d+)")
_THOUSANDS: Final = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
_CURRENCY: Final = re.compile(r"(?<![^-+])\$|\s*(usd[ct]?|\$)$", re.IGNORECASE)
# Nine digits of a longer number: a spreadsheet saved what it showed.
_ROUNDED: Final = re.compile(r"\d([.,]\d{0,8})?[eE]\+\d{2}")
_IN_BRACKETS: Final = re.compile(r"\((.+)\)")  # as accountants write losses
_ODD_SPACES: Final = re.compile("[\u00a0\u202f]")
_UTC: Final = re.compile(r"\s*(UTC|GMT)$")
# A date with the month's name, as mails and spreadsheets have it. The library that reads it passes
# over what it does not know, such as PM or CET; so nothing else may stand there.
_NAMED_MONTH: Final = re.compile(
    r"(?P<date>(?:[A-Za-z]{3,9},?\s+)?(?:\d{1,2}\s+[A-Za-z]{3,9}|[A-Za-z]{3,9}\s+\d{1,2},?)\s+"
    r"(?:\d{4}|\d{2})),?\s+(?P<hour>\d{1,2})(?P<rest>:\d{2}(?::\d{2})?)"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?:\s*(?:UTC|GMT)?(?P<sign>[+-])(?P<zone>\d{2}:?\d{2})|\s+Z)?(?:\s+\([A-Za-z ]+\))?"
)
_CTIME: Final = re.compile(r"(?:[A-Za-z]{3}\s+)?[A-Za-z]{3}\s+\d{1,2}\s+[\d:]{7,8}\s+\d{4}")


class BadTrade(BadInput):
    """A record is no trade that can be counted; `kind` is the reason without the values."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(text or kind)
        self.kind = kind


class NoTrade(BadTrade):
    """A record is right as it is and no closed trade: a funding payment, an open trade."""


class OtherMarket(NoTrade):
    """A record is of a market that no slot can follow."""


@dataclass(frozen=True, slots=True)
class FileTrade:
    """One closed trade of a file.

    Attributes:
        trade_id: Names the trade for ever.
        side: Side of the opening order, buy or sell.
        opened_ms: When it was opened, ms UTC.
        closed_ms: When it was closed, ms UTC.
        pnl: Profit after fees, quote units.
        slot: The slot that the file names; "" if it names none.
        coin: The coin or pair that the file names; "" if it names none.
        interval: The interval that the file names; "" if it names none.
        entry: Average price of opening, quote units; 0 if the file does not say.
        exit: Average price of closing, quote units; 0 if the file does not say.
        fee: Fees of all orders, quote units; 0 if the file does not say.
        notional: Value at the entry, quote units; 0 if the file does not say.
    """

    trade_id: str
    side: str
    opened_ms: int
    closed_ms: int
    pnl: float
    slot: str = ""
    coin: str = ""
    interval: str = ""
    entry: float = 0.0
    exit: float = 0.0
    fee: float = 0.0
    notional: float = 0.0


def checked(trade: FileTrade, now_ms: int) -> FileTrade:
    """Return a trade whose fields fit each other.

    Args:
        trade: The trade as it was read.
        now_ms: The present time, ms UTC.

    Raises:
        BadTrade: If they do not.
    """
    name(trade.trade_id)
    if not math.isfinite(trade.pnl):
        raise BadTrade("pnl is no finite number", f"pnl is {trade.pnl}")
    check_times(trade.opened_ms, trade.closed_ms, now_ms)
    return trade


def check_times(opened_ms: int, closed_ms: int, now_ms: int) -> None:
    """Check that a trade was opened before it was closed, and closed before now.

    Args:
        opened_ms: When it was opened, ms UTC.
        closed_ms: When it was closed, ms UTC.
        now_ms: The present time, ms UTC.

    Raises:
        BadTrade: If not.
    """
    if closed_ms < opened_ms:
        text = f"it closed at {closed_ms} ms, before it was opened at {opened_ms} ms"
        raise BadTrade("it closed before it was opened", text)
    if closed_ms > now_ms + FUTURE_MS:
        ahead = f"{(closed_ms - now_ms) / 3_600_000:.1f} hours ahead"
        text = f"it closes in the future, {ahead}: write UTC, or ms since 1970"
        raise BadTrade("it closes in the future", text)


def name(value: object) -> str:
    """Return a name of a trade.

    Raises:
        BadTrade: If it is empty, rounded, too long or no text that can be stored.
    """
    text = "" if isinstance(value, (dict, list, bool)) else whole(str(value).strip())
    if text.casefold() in EMPTY:
        raise BadTrade("trade_id is empty")
    if _ROUNDED.fullmatch(text):
        remedy = "a spreadsheet cut its digits, format the column as text"
        raise BadTrade("trade_id is rounded", f"trade_id is {text}: {remedy}")
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise BadTrade("trade_id is too long or has odd characters")
    return text


def whole(text: str) -> str:
    """Return a name without the `.0` that a table of numbers with a gap appends to each."""
    return re.sub(r"^(\d+)\.0$", r"\1", text)


def side(value: object) -> str:
    """Return buy or sell.

    Raises:
        BadTrade: If it is neither.
    """
    text = value.strip().lower() if isinstance(value, str) else ""
    words = re.findall(r"[a-z]+", text.rpartition(".")[2])  # Python shows `OrderSide.BUY`
    meant = {_SIDES.get(word) for word in words if word not in _BESIDE_SIDES}
    found = meant.pop() if len(meant) == 1 else None
    if found is None:
        text = f"side is {value!r:.80}, must be buy or sell (long and short will do)"
        raise BadTrade("side is neither buy nor sell", text)
    return found


def number(value: object, field: str, *, comma: bool = False) -> float:
    """Return a finite number.

    Args:
        value: A number, or its text; a thousands separator and a currency may stand there.
        field: Names it in the error.
        comma: Whether a comma alone is a decimal one, as in files separated by semicolons.

    Raises:
        BadTrade: If it is none.
    """
    if isinstance(value, str):
        value = _plain(value.strip(), comma=comma)
    try:
        found = float(value) if not isinstance(value, bool) else math.nan  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise BadTrade(f"{field} is no number", f"{field} is {value!r:.80}, must be a number")
    return found


def value_at_entry(entry: object, size: object, *, comma: bool = False) -> float:
    """Return price times size, quote units; 0 if one of them is no number.

    Args:
        entry: Average price of opening.
        size: How much was opened, base units.
        comma: As in `number`.
    """
    try:
        return abs(number(entry, "entry", comma=comma) * number(size, "size", comma=comma))
    except BadTrade:
        return 0.0


def moment(value: object, field: str) -> int:
    """Return ms UTC of a number (s, ms, us or ns) or of a text (UTC if it has no zone).

    Raises:
        BadTrade: If it is no time of this century.
    """
    try:
        at_ms = _moment(plain(value))
    except (ValueError, TypeError, OverflowError):
        at_ms = 0
    if not _FIRST_MS <= at_ms < _LAST_MS:
        text = f"{field} is {value!r:.80}; write ms since 1970, or 2026-01-31T23:59:59Z"
        raise BadTrade(f"{field} is no time", text)
    return at_ms


def _moment(value: Any) -> int:
    if isinstance(value, bool) or value is None:
        return 0
    text = _UTC.sub("+00:00", str(value).strip())
    try:
        count = float(text)
    except ValueError:
        at = _date(text)
        aware = at if at.tzinfo else at.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    if not math.isfinite(count) or _ROUNDED.fullmatch(text):
        return 0
    factor = next((factor for below, factor in _UNITS if count < below), 0.0)
    exact = isinstance(value, int) or text.isdigit()
    if exact and factor and factor < 1:  # ns do not fit a float exactly
        return int(text) // round(1 / factor)
    return round(count * factor)


def _date(text: str) -> datetime:
    """Read ISO 8601, or a date as mails have it: `Sat, 28 Nov 2026 01:59:21 GMT`.

    Raises:
        ValueError: If it is neither.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        if _CTIME.fullmatch(text):
            return parsedate_to_datetime(text)
        found = _NAMED_MONTH.fullmatch(text)
    if found is None:
        raise ValueError(text)
    hour = int(found["hour"])
    if half := found["half"]:
        if not 1 <= hour <= 12:  # noqa: PLR2004
            raise ValueError(text)
        hour = hour % 12 + 12 * (half in "Pp")
    zone = f"{found['sign']}{found['zone'].replace(':', '')}" if found["zone"] else "+0000"
    return parsedate_to_datetime(f"{found['date']} {hour:02}{found['rest']} {zone}")


def _plain(text: str, *, comma: bool) -> str:
    """Return the text of a number as Python reads it."""
    text = _IN_BRACKETS.sub(r"-\1", _ODD_SPACES.sub("", text).replace("\u2212", "-"))
    text = _CURRENCY.sub("", text)
    if (comma and _DECIMAL_COMMA.fullmatch(text)) or _SURELY_DECIMAL.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    if _THOUSANDS.fullmatch(text) and ("." in text or text.count(",") > 1):
        return text.replace(",", "")
    return text.replace("_", "?")  # Python alone reads 1_000 as a number
