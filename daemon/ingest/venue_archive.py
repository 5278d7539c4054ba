"""Make bars from the venue's archive, which has every trade in LZ4 files of JSON lines.

Three layouts are read: `node_fills_by_block` (a block per line), `node_fills` (a fill per
line) and `node_trades` (a trade per line). Fills show each trade twice, once per side; it is
counted once. A bar is made only if the files have all of it: later nobody could tell that
a part is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple, cast

import lz4.frame
import msgspec

from daemon.core.bars import Bar
from daemon.market_data.order_flow import Cohorts, Sums
from daemon.store.feature_frame import Flow
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import SlotName

_SUFFIX: Final = ".lz4"
_TABLES: Final = frozenset({".csv", ".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"})
# Some coin trades every second: after a longer time without trades a part of a file is missing.
_SILENCE_MS: Final = 60_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Sizes have at most so many decimals; further decimals of a sum are rounding errors.
_SIZE_DECIMALS: Final = 8

OnBytes = Callable[[int], None]
OnTaker = Callable[[int, str, float], None]
"""Takes a time, ms UTC, a taker's address and its signed size in base units."""


def is_archive(path: Path) -> bool:
    """Return whether a name is one of the archive's; `bars.csv.lz4` is a packed table."""
    return path.suffix == _SUFFIX and Path(path.stem).suffix not in _TABLES


class _Fill(msgspec.Struct):
    coin: str
    px: float
    sz: float
    side: Literal["A", "B"]
    time: int
    tid: int
    crossed: bool = False


class _Block(msgspec.Struct):
    block_time: str | int
    events: list[tuple[str, _Fill]]


class _Side(msgspec.Struct):
    user: str
    oid: int


class _TradeLine(msgspec.Struct):
    coin: str
    side: Literal["A", "B"]
    time: str | int
    px: float
    sz: float
    side_info: tuple[_Side, _Side]


class _Print(NamedTuple):
    """One row of a trade: `taker` is None in the row of the other side, `maker` in the taker's."""

    coin: str
    time: int
    identity: object
    price: float
    size: float
    taker: str | None
    maker: str | None
    signed: float


class _Line(NamedTuple):
    time: int
    prints: list[_Print]


@dataclass(slots=True)
class _Sums:
    """Sums of the trades of a bar so far."""

    open: float
    high: float
    low: float
    close: float
    volume: float = 0.0
    n: int = 0
    flow: Sums = field(default_factory=Sums)

    def bar(self, t: int) -> Bar:
        volume = round(self.volume, _SIZE_DECIMALS)
        return Bar(t, self.open, self.high, self.low, self.close, volume, self.n)


class ArchiveBars(NamedTuple):
    """Whole bars, ascending, their cohort flow, and counts.

    Attributes:
        bars: The bars.
        flows: Their cohort flow.
        trades: Trades of the coin.
        repeated: Rows that repeat a trade of another file or row.
        partial: Bars left out because a part of them is missing.
    """

    bars: list[Bar]
    flows: list[Flow]
    trades: int
    repeated: int
    partial: int


def read_archive(
    paths: Sequence[Path],
    slot: SlotName,
    cohorts: Cohorts | None = None,
    on_bytes: OnBytes = lambda _: None,
    on_taker: OnTaker = lambda *_: None,
) -> ArchiveBars:
    """Make bars of one slot from archive files; only the bars are kept in memory.

    A bar without trades between others is flat, as the venue has it. A trade of an address with
    itself has volume, but no taker.

    Args:
        paths: Files of one or several layouts, in any order; a trade in two files counts once.
        slot: The slot of the bars.
        cohorts: The cohorts whose order flow is summed up; None gives no flows.
        on_bytes: Called with the number of bytes read since its last call.
        on_taker: Called for each trade, and again with the opposite size if it turns out to have
            the same address on both sides.

    Raises:
        BadInput: If a file is damaged or no such archive, or no file has trades of the coin.
    """
    maker = _Maker(slot, cohorts or Cohorts(frozenset(), frozenset()), on_taker)
    for path in sorted(paths, key=_first_time):
        maker.begin_file()
        for line in _lines(path, on_bytes):
            maker.take(line)
    if not maker.trades:
        have = ", ".join(sorted(maker.coins)[:8]) or "nothing"
        raise BadInput(f"{', '.join(map(str, paths))}: no trade of {slot.coin}; there is {have}")
    bars, flows, partial = maker.finished()
    return ArchiveBars(bars, flows if cohorts else [], maker.trades, maker.repeated, partial)


class _Maker:
    """Adds up trades in the order of time; `_spans` are the times without missing parts."""

    def __init__(self, slot: SlotName, cohorts: Cohorts, on_taker: OnTaker) -> None:
        self._coin, self._step, self._cohorts = slot.coin, slot.interval_ms, cohorts
        self._on_taker = on_taker
        self._sides: dict[object, tuple[str | None, str | None]] = {}
        self._sums: dict[int, _Sums] = {}
        self._spans: list[list[int]] = []
        self._before = 0  # the newest time of earlier files
        self._now, self._credited = 0, dict[object, bool]()
        self.coins: set[str] = set()
        self.trades = self.repeated = 0

    def begin_file(self) -> None:
        self._before = self._now

    def take(self, line: _Line) -> None:
        if line.time < self._before:
            self.repeated += sum(p.coin == self._coin and p.taker is not None for p in line.prints)
            return
        if not self._spans or line.time - self._spans[-1][1] > _SILENCE_MS:
            self._spans.append([line.time, line.time])
        self._spans[-1][1] = max(line.time, self._spans[-1][1])
        for one in line.prints:
            self.coins.add(one.coin)
            if one.coin == self._coin:
                self._count(one)

    def _count(self, one: _Print) -> None:
        if one.time > self._now:
            self._now = one.time
            self._credited.clear()
            self._sides.clear()
        sums = self._sums.get(t := one.time // self._step * self._step)
        if sums is None:
            sums = self._sums[t] = _Sums(one.price, one.price, one.price, one.price)
        if one.identity not in self._credited:
            self._credited[one.identity] = False
            self.trades += 1
            sums.n += 1
            sums.volume += one.size
            sums.flow.seen += one.size
            sums.high, sums.low = max(sums.high, one.price), min(sums.low, one.price)
            sums.close = one.price
        elif one.taker is not None and self._credited[one.identity]:
            self.repeated += 1
        if one.taker is not None and not self._credited[one.identity]:
            self._credited[one.identity] = True
            self._credit(sums, one, one.taker)
        self._cancel_own(sums, one)

    def _credit(self, sums: _Sums, one: _Print, taker: str) -> None:
        sums.flow.credit(self._cohorts, taker, one.signed)
        self._on_taker(one.time, taker, one.signed)

    def _cancel_own(self, sums: _Sums, one: _Print) -> None:
        """Take back what a trade of an address with itself gave it, once both sides are known."""
        taker, maker = self._sides.get(one.identity, (None, None))
        known = taker is not None and maker is not None
        taker, maker = one.taker or taker, one.maker or maker
        self._sides[one.identity] = taker, maker
        if not known and taker is not None and taker == maker:
            opposite = one.signed if one.taker is None else -one.signed
            self._credit(sums, one._replace(signed=opposite), taker)

    def finished(self) -> tuple[list[Bar], list[Flow], int]:
        """Return the whole bars, their flows, and how many other bars were left out."""
        bars: list[Bar] = []
        flows: list[Flow] = []
        last: float | None = None
        times = [t for span in self._spans for t in self._whole(*span)]
        for t in times:
            if sums := self._sums.get(t):
                bars.append(sums.bar(t))
                flows.append(sums.flow.flow(t))
                last = sums.close
            elif last is not None and bars[-1].t == t - self._step:
                bars.append(Bar(t, last, last, last, last, 0.0))
                flows.append(Sums().flow(t))
        return bars, flows, len(self._sums.keys() - set(times))

    def _whole(self, first_ms: int, last_ms: int) -> range:
        """Return the open times of the bars that begin and end inside a span, ms UTC."""
        step = self._step
        return range(-(-first_ms // step) * step, last_ms // step * step, step)


def _lines(path: Path, on_bytes: OnBytes = lambda _: None) -> Iterator[_Line]:
    """Yield the lines of a file; the first one tells its layout.

    Raises:
        BadInput: If a line cannot be read.
    """
    read: Callable[[bytes], _Line] | None = None
    number = done = 0
    try:
        with path.open("rb") as raw, lz4.frame.open(raw, "rb") as lines:
            for number, text in enumerate(cast("BinaryIO", lines), start=1):  # noqa: B007 - named below
                read = read or _layout(text)
                yield read(text)
                on_bytes(raw.tell() - done)
                done = raw.tell()
    except (msgspec.MsgspecError, ValueError) as e:
        raise BadInput(f"{path} line {number}: not a line of the venue's archive ({e})") from e
    except PermissionError:
        raise  # the command line says what to do
    except (OSError, EOFError, RuntimeError) as e:
        raise BadInput(f"{path} cannot be read past line {number} ({e}): fetch it again") from e


def _first_time(path: Path) -> int:
    line = next(_lines(path), None)
    if line is None:
        raise BadInput(f"{path} is empty: fetch it again")
    return line.time


def _layout(text: bytes) -> Callable[[bytes], _Line]:
    if text.startswith(b"["):
        return _fill_line
    return (
        _block_line if "events" in msgspec.json.decode(text, type=dict[str, Any]) else _trade_line
    )


_decode_block: Final = msgspec.json.Decoder(_Block, strict=False).decode
_decode_fill: Final = msgspec.json.Decoder(tuple[str, _Fill], strict=False).decode
_decode_trade: Final = msgspec.json.Decoder(_TradeLine, strict=False).decode


def _block_line(text: bytes) -> _Line:
    block = _decode_block(text)
    prints = [_print(user, fill) for user, fill in block.events if fill.tid]
    return _Line(_ms(block.block_time), prints)


def _fill_line(text: bytes) -> _Line:
    user, fill = _decode_fill(text)
    return _Line(fill.time, [_print(user, fill)] if fill.tid else [])


def _print(user: str, fill: _Fill) -> _Print:
    # tid 0 is a conversion of a small balance, no trade. A tid may occur in two blocks; the
    # trades of a block share a time, and `_count` clears the known ids when the time changes.
    signed = fill.sz if fill.side == "B" else -fill.sz
    taker, maker = (user.lower(), None) if fill.crossed else (None, user.lower())
    return _Print(fill.coin, fill.time, fill.tid, fill.px, fill.sz, taker, maker, signed)


def _trade_line(text: bytes) -> _Line:
    row = _decode_trade(text)
    bought, time = row.side == "B", _ms(row.time)
    buyer, seller = (side.user.lower() for side in row.side_info)
    taker, maker = (buyer, seller) if bought else (seller, buyer)
    identity = tuple(map(attrgetter("oid"), row.side_info))
    signed = row.sz if bought else -row.sz
    return _Line(time, [_Print(row.coin, time, identity, row.px, row.sz, taker, maker, signed)])


def _ms(time: str | int) -> int:
    """Return a time in ms UTC; ISO text has up to nine decimals, and is UTC without a zone."""
    if isinstance(time, int):
        return time
    stamp = datetime.fromisoformat(time)
    return (stamp.replace(tzinfo=stamp.tzinfo or UTC) - _EPOCH) // timedelta(milliseconds=1)
