"""Tell from its fields what a record is, and read it: a trade of the bot, of freqtrade, a fill."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from daemon.config.schema import TRADE_FIELDS, TRADE_OWNER_FIELDS
from daemon.trade_files import fill_records, freqtrade, page_dates
from daemon.trade_files.closed_trade import (
    EMPTY,
    BadTrade,
    FileTrade,
    NoTrade,
    checked,
    moment,
    name,
    number,
    side,
    value_at_entry,
)
from daemon.trade_files.fills import Fill

Record = Mapping[str, Any]

_COINS: Final = ("symbol", "pair", "market", "instrument", "asset", "ticker", "product", "contract",
                 "instid", "tradingpair", "currencypair", "token", "sym", "base", "baseasset",
                 "underlying", "security")  # fmt: skip
_INTERVALS: Final = ("timeframe", "tf")
# Headers of files that are known, for one that was lost: ours, and the venue's page.
_HEADERS: Final = (
    TRADE_FIELDS,
    ("time", "coin", "dir", "px", "sz", "ntl", "fee", "closedPnl"),
)
# A profit of such a name is after fees, so a plain `pnl` beside it is not.
_NET: Final = ("netpnl", "pnlnet", "pnlafterfees", "pnlafterfee", "realizedpnlnet")
# What stands in the place of the time at which a trade will close.
_NOT_YET: Final = EMPTY | {"0", "0.0", "open"}
# Where programs write what a record tells of a trade, and what it is then if it is not its end.
_STAGES: Final = ("status", "state", "event", "action", "type")
_UNCLOSED: Final = {
    **dict.fromkeys(("open", "opened", "opening", "entry", "enter", "active", "pending"), "open"),
    **dict.fromkeys(("cancelled", "canceled", "rejected", "expired", "failed"), "cancelled"),
    **dict.fromkeys(
        ("partial", "partially", "partial_close", "partial_exit", "reduce"), "parts of a close"
    ),
}
_MOST_OPEN: Final = 10_000
# What the venue tells of an account beside its fills.
_PAYMENTS: Final = ({"delta"}, {"fundingRate", "usdc"}, {"payment", "rate"}, {"funding"})


class RecordReader:
    """Reads the records of one file.

    Args:
        columns: Our field -> its name in the file, if they differ.
        now_ms: Returns the present time, ms UTC.
    """

    def __init__(self, columns: Mapping[str, str], now_ms: Callable[[], int]) -> None:
        fields = (*TRADE_FIELDS, *TRADE_OWNER_FIELDS)
        self._names = {field: columns.get(field, field) for field in fields}
        self._is_mapped, self._now_ms = bool(columns), now_ms
        self._repeats: Counter[str] = Counter()
        self._opened: dict[str, Record] = {}

    def begin(self) -> None:
        """Begin a file: fills without an id are counted from its first line."""
        self._repeats.clear()

    def is_known(self, names: Sequence[str]) -> bool:
        """Return whether the names of columns are those of something that can be read."""
        record = self.named(dict.fromkeys(names))
        ours = sum(self._column(record, field) is not None for field in TRADE_FIELDS)
        return ours > 2 or fill_records.is_fill(record) or freqtrade.is_freqtrade(record)  # noqa: PLR2004

    def is_trade(self, record: Record) -> bool:
        """Return whether a record has all that a trade must have, or is a fill."""
        record = self.named(record)
        if fill_records.is_fill(record) or freqtrade.is_freqtrade(record):
            return True
        return all(self._column(record, field) is not None for field in TRADE_FIELDS)

    def guess(self, cells: Sequence[str]) -> Sequence[str] | None:
        """Return the names of the columns of a row without a header, None if not certain."""
        for names in _HEADERS:
            if len(names) != len(cells) or (names is TRADE_FIELDS and self._is_mapped):
                continue
            record: dict[str, Any] = dict(zip(names, cells, strict=True))
            if page_dates.is_page_date(record.get("time")):
                record["time"] = self._now_ms()
            try:
                self.read(record)
            except NoTrade:
                pass
            except BadTrade:
                continue
            self.begin()  # the row is yet to be counted
            return names
        return None

    def named(self, record: Record) -> Record:
        """Return a record with the venue's names of columns, if it is a fill of the venue."""
        return record if self._is_mapped else fill_records.with_venue_names(record)

    def read(self, record: Record, *, comma: bool = False) -> FileTrade | Fill:
        """Read one record.

        Args:
            record: The fields by name.
            comma: Whether a comma alone is a decimal one.

        Raises:
            NoTrade: If it is right and no closed trade.
            BadTrade: If it cannot be counted.
        """
        if not self._is_own(record):
            if {"filled", "status"} <= record.keys():
                raise NoTrade("orders")
            if fill_records.is_fill(record):
                return self._fill(record, comma=comma)
            if freqtrade.is_freqtrade(record):
                return checked(freqtrade.read_trade(record), self._now_ms())
            if any(marks <= record.keys() for marks in _PAYMENTS):
                raise NoTrade("funding payment")
        return checked(self._trade(record, comma=comma), self._now_ms())

    def _is_own(self, record: Record) -> bool:
        """Return whether a record is in our format, whatever else a bot writes beside it."""
        if self._is_mapped and self._names["pnl"] in record:
            return True
        return all(self._column(record, each) is not None for each in ("trade_id", "opened_ms"))

    def _fill(self, record: Record, *, comma: bool) -> Fill:
        fill = fill_records.read_fill(record, self._repeats, comma=comma)
        if fill.at_ms > self._now_ms() + 300_000:
            raise BadTrade("it closes in the future", f"its time is {record.get('time')!r:.80}")
        return fill

    def _trade(self, record: Record, *, comma: bool) -> FileTrade:
        named = name(self._field(record, "trade_id"))
        stage = self._stage(record)
        if stage:
            if stage == "open":
                self._keep_opening(named, record)
            raise NoTrade(stage)
        record = self._with_opening(named, record)
        _, way, opened, closed, pnl = (self._field(record, each) for each in TRADE_FIELDS)
        return FileTrade(
            trade_id=named,
            side=side(way),
            opened_ms=moment(opened, "opened_ms"),
            closed_ms=moment(closed, "closed_ms"),
            pnl=number(pnl, "pnl", comma=comma),
            slot=_text(record.get(self._names["slot"])),
            coin=self._owner(record, "coin", _COINS),
            interval=self._owner(record, "interval", _INTERVALS),
            notional=value_at_entry(record.get("entry"), record.get("size"), comma=comma),
        )

    def _keep_opening(self, trade_id: str, record: Record) -> None:
        """Keep what a record tells of an opening, for one that tells of the close alone."""
        ours = (self._names[field] for field in ("side", "opened_ms", *TRADE_OWNER_FIELDS))
        columns = (_found(record, each) for each in (*ours, *_COINS, *_INTERVALS, "entry", "size"))
        self._opened[trade_id] = {
            column: record[column]
            for column in columns
            if column is not None and _text(record[column]).casefold() not in EMPTY
        }
        if len(self._opened) > _MOST_OPEN:
            del self._opened[next(iter(self._opened))]

    def _with_opening(self, trade_id: str, record: Record) -> Record:
        """Return a record of a close with what that of the opening told, if it needs it."""
        opening, opened = self._opened.pop(trade_id, {}), self._column(record, "opened_ms")
        if opened is not None and _text(record[opened]).casefold() not in EMPTY:
            return record
        is_same = self._owner(record, "coin", _COINS) in {"", self._owner(opening, "coin", _COINS)}
        return {**record, **opening} if is_same else record

    def _stage(self, record: Record) -> str:
        """Return what a record tells of a trade that is not its end, "" if it is its end."""
        for each in _STAGES:
            column = _found(record, each)
            word = _text(record[column]) if column is not None else ""
            if stage := _UNCLOSED.get(word.casefold().replace(" ", "_")):
                return stage
        closed = self._column(record, "closed_ms")
        is_open = closed is not None and _text(record[closed]).casefold() in _NOT_YET
        return "open" if is_open else ""

    def _column(self, record: Record, field: str) -> str | None:
        """Return the column of a field, None without one."""
        if field == "pnl" and not self._is_mapped:
            nets = (_found(record, each) for each in _NET)
            if (net := next(filter(None, nets), None)) is not None:
                return net
        return _found(record, self._names[field])

    def _field(self, record: Record, field: str) -> Any:
        if (column := self._column(record, field)) is not None:
            return record[column]
        named = self._names[field]
        has = ", ".join(list(record)[:12])[:160] or "none"
        raise BadTrade(f"no column {named!r:.80}", f"no column {named!r:.80}; it has {has}")

    def _owner(self, record: Record, field: str, others: Sequence[str]) -> str:
        named = self._names[field]
        options = (named,) if named != field else (field, *others)
        columns = (_found(record, each) for each in options)
        texts = (_text(record[column]) for column in columns if column is not None)
        return next(filter(None, texts), "")


def _found(record: Record, name: str) -> str | None:
    """Return the column of a name, whose case and marks do not count; None without one."""
    if name in record:
        return name
    plain = fill_records.folded(name)
    return next((each for each in record if fill_records.folded(each) == plain), None)


def _text(value: object) -> str:
    return "" if isinstance(value, (dict, list)) or value is None else str(value).strip()
