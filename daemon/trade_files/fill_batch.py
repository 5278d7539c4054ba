"""Gather the fills of a file until all of it is read, then join them to trades.

Exports have the newest fill first, and a stream repeats its last fills at each reconnect. So
fills are put in order, and each counts once.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from daemon.trade_files import page_dates
from daemon.trade_files.closed_trade import BadTrade, FileTrade, NoTrade, checked
from daemon.trade_files.fill_records import is_fill
from daemon.trade_files.fills import Fill, FillJoiner
from daemon.trade_files.records import RecordReader
from hyperdrift.slot_name import DAY_MS

# A trade may be open for weeks before it closes and counts.
_KEPT_DAYS: Final = 120
_MOST: Final = 5_000
_UNCERTAIN: Final = (
    "the order of day and month is not certain: no day is above 12; write ms since 1970, or "
    "2026-01-31T23:59:59Z"
)

Refuse = Callable[[str, BadTrade], None]


class FillBatch:
    """Gathers and joins the fills of one file, through its rotations.

    Args:
        reader: Reads fills whose dates are understood only at the end.
        now_ms: Returns the present time, ms UTC.
        refuse: Takes a record that is bad, and why.
    """

    def __init__(self, reader: RecordReader, now_ms: Callable[[], int], refuse: Refuse) -> None:
        self._reader, self._now_ms, self._refuse = reader, now_ms, refuse
        self._fills: list[Fill] = []
        self._undated: list[tuple[Mapping[str, Any], bool]] = []
        self._seen: dict[str, int] = {}
        self._joiners: dict[tuple[str, str], FillJoiner] = {}
        self._user = ""
        self._day_first: bool | None = None
        self._left_out: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether so many fills are gathered that they should be joined before the end."""
        return len(self._fills) >= _MOST and self._fills[0].at_ms <= self._fills[-1].at_ms

    def holds(self, record: Mapping[str, Any], *, comma: bool) -> bool:
        """Keep a fill whose date only other rows explain; return whether it is one."""
        if not (is_fill(record) and page_dates.is_page_date(record.get("time"))):
            return False
        self._undated.append((record, comma))
        return True

    def add(self, fill: Fill) -> None:
        """Take a fill; one that was taken before, or is very old, is passed over."""
        self._user = self._user or fill.user  # what names no account is of the first one
        oldest_ms = self._now_ms() - _KEPT_DAYS * DAY_MS
        if fill.at_ms < oldest_ms:
            self._refuse("", NoTrade(f"fills older than {_KEPT_DAYS} days"))
        elif fill.key not in self._seen:
            self._seen[fill.key] = fill.at_ms
            self._fills.append(fill)

    def joined(self) -> Iterator[FileTrade]:
        """Join what was gathered; yield the trades that are closed."""
        self._date()
        fills, self._fills = self._fills, []
        steps = [b.at_ms - a.at_ms for a, b in itertools.pairwise(fills)]
        if sum(math.copysign(1, step) for step in steps if step) < 0:
            fills.reverse()  # the newest was first
        by_position: dict[tuple[str, str], list[Fill]] = {}
        for fill in sorted(fills, key=lambda each: each.at_ms):
            user = "" if fill.user == self._user else fill.user
            by_position.setdefault((user, fill.coin), []).append(fill)
        for position, held in by_position.items():
            joiner = self._joiners.setdefault(position, FillJoiner())
            for trade in joiner.take(held):
                try:
                    yield checked(trade, self._now_ms())
                except BadTrade as e:
                    self._refuse(str(trade), e)
        if fills:
            self._tell_left_out()
            self._forget()

    def _date(self) -> None:
        """Read the fills whose dates the whole column explains."""
        undated, self._undated = self._undated, []
        if not undated:
            return
        texts = [str(record["time"]) for record, _ in undated]
        order = page_dates.day_first(texts, self._now_ms())
        self._day_first = self._day_first if order is None else order
        for record, comma in undated:
            try:
                self._add_dated(record, comma=comma)
            except BadTrade as e:
                self._refuse(str(dict(record)), e)

    def _add_dated(self, record: Mapping[str, Any], *, comma: bool) -> None:
        if self._day_first is None:
            raise BadTrade("the order of day and month is not certain", _UNCERTAIN)
        at_ms = page_dates.read(str(record["time"]), day_first=self._day_first)
        found = self._reader.read({**record, "time": at_ms}, comma=comma)
        if isinstance(found, Fill):
            self.add(found)

    def _tell_left_out(self) -> None:
        for kind, field in (("fills that came too late", "late"), ("broken trades", "broken")):
            count = sum(getattr(joiner, field) for joiner in self._joiners.values())
            for _ in range(count - self._left_out[kind]):
                self._refuse("", NoTrade(kind))
            self._left_out[kind] = count

    def _forget(self) -> None:
        if len(self._seen) > 40 * _MOST:
            oldest_ms = self._now_ms() - _KEPT_DAYS * DAY_MS
            self._seen = {key: at for key, at in self._seen.items() if at >= oldest_ms}
