"""Join the fills of one coin to trades: one trade from flat to flat.

A venue reports fills, and one trade may have many: an order is filled in pieces, a position is
opened and closed in steps, one order turns long into short. Counted one by one, openings would
be losses, and every piece of a close a trade of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from daemon.trade_files.closed_trade import FileTrade

# So small a part of a position is left over by rounding.
_DUST: Final = Decimal("1e-8")
_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill.

    Attributes:
        key: Names the fill for ever.
        coin: The coin as the file names it.
        at_ms: When it happened, ms UTC.
        bought: Size, base units, negative if sold; None closes whatever is open.
        px: Price, quote units.
        fee: Fee, quote units; negative is a rebate.
        pnl: Profit of what it closed, quote units; None if the file does not say.
        net: Whether `pnl` is after this fill's fee, if no opening fill shows it.
        start: The position before it, base units, negative is short; None if not known.
        opens: True if it says that it only opens, False that it only closes, else None.
        interval: The interval that the file names; "" if it names none.
        user: The account that the venue's stream names; "" if it names none.
        is_part: Whether it is the part of a fill that opens, after its other part closed.
    """

    key: str
    coin: str
    at_ms: int
    bought: Decimal | None
    px: float
    fee: float
    pnl: float | None
    net: bool = False
    start: Decimal | None = None
    opens: bool | None = None
    interval: str = ""
    user: str = ""
    is_part: bool = False


@dataclass(slots=True)
class _Position:
    """A trade under way; `size` is signed, None if the file begins inside the trade."""

    first: Fill
    long: bool
    size: Decimal | None
    fills: list[Fill] = field(default_factory=list)
    opened: Decimal = Decimal(0)
    paid: float = 0.0
    closed: Decimal = Decimal(0)
    got: float = 0.0
    fee: float = 0.0
    pnl: float = 0.0
    pnl_fee: float = 0.0
    pnl_known: bool = True

    def add(self, fill: Fill, size: Decimal, *, opens: bool, pnl_fee: float | None = None) -> None:
        """Take a fill or the part of it that belongs to this trade.

        `pnl_fee` is the fee that its `pnl` has, if that is after fees.
        """
        self.fills.append(fill)
        self.fee += fill.fee
        self.pnl += fill.pnl or 0.0
        self.pnl_fee += fill.fee if pnl_fee is None else pnl_fee
        self.pnl_known &= fill.pnl is not None
        if opens:
            self.opened += abs(size)
            self.paid += float(abs(size)) * fill.px
        else:
            self.closed += abs(size)
            self.got += float(abs(size)) * fill.px
        if self.size is not None:
            self.size += size

    def is_flat(self) -> bool:
        return self.size is not None and abs(self.size) <= _DUST * max(self.opened, self.closed)

    def trade(self, last: Fill, *, net: bool) -> FileTrade | None:
        """Return the trade that ends with a fill; None if its profit cannot be known."""
        entry = self.paid / float(self.opened) if self.opened else 0.0
        exit_ = self.got / float(self.closed) if self.closed else 0.0
        if self.pnl_known:
            pnl = self.pnl - self.fee + (self.pnl_fee if net else 0.0)
        elif entry:
            way = 1 if self.long else -1
            pnl = way * (exit_ - entry) * float(self.closed) - self.fee
        else:
            return None
        return FileTrade(
            trade_id=last.key,
            side="buy" if self.long else "sell",
            opened_ms=self.first.at_ms,
            closed_ms=last.at_ms,
            pnl=pnl,
            coin=last.coin,
            interval=last.interval,
            entry=entry,
            exit=exit_,
            fee=self.fee,
            notional=entry * float(self.closed),
        )


class FillJoiner:
    """Joins the fills of one coin, in whatever pieces they come.

    Attributes:
        late: Fills that came after a later trade was closed; they are left out.
        broken: Trades that are left out because fills of them are missing.
    """

    def __init__(self) -> None:
        self._held: Sequence[Fill] = ()  # of the trade that is open
        self._flat_ms = 0
        self._net: bool | None = None
        self.late, self.broken = 0, 0

    def take(self, fills: Sequence[Fill]) -> list[FileTrade]:
        """Take more fills, in time order; return the trades that they close.

        The trade that is open is joined anew each time, so that a fill of it may come late.
        """
        new = [fill for fill in fills if fill.at_ms >= self._flat_ms]
        self.late += len(fills) - len(new)
        run = _Run(self._net)
        found: list[FileTrade] = []
        for fill in sorted([*self._held, *new], key=lambda fill: fill.at_ms):
            found += run.take(fill)
        self._held, self._net = run.held, run.net
        self.broken += run.broken
        self._flat_ms = max([self._flat_ms, *(trade.closed_ms for trade in found)])
        return found


class _Run:
    """One pass over fills in time order, from a flat position on."""

    def __init__(self, net: bool | None) -> None:  # noqa: FBT001 - a finding, no switch
        self.net, self.broken = net, 0
        self._now: _Position | None = None

    @property
    def held(self) -> Sequence[Fill]:
        return self._now.fills if self._now else ()

    def take(self, fill: Fill) -> Iterator[FileTrade]:
        self._heed_start(fill)
        size = fill.bought
        if self._now is None:
            if size is None:
                return
            # A close of nothing that we saw: the file begins inside this trade.
            inside = fill.opens is False
            self._now = _Position(fill, (size > 0) != inside, None if inside else Decimal(0))
        now = self._now
        if now.size is None:
            yield from self._take_inside(now, fill)
            return
        size = -now.size if size is None else size
        if (size > 0) == now.long:
            self._judge_pnl(fill)
            now.add(fill, size, opens=True)
        elif fill.opens is not False and abs(size) > abs(now.size) * (1 + _DUST):
            yield from self._turn(now, fill, size)
        else:
            too_much = abs(size) > abs(now.size)
            now.add(fill, size, opens=False)
            if too_much or now.is_flat():
                yield from self._finish(now, fill)

    def _heed_start(self, fill: Fill) -> None:
        """Begin from the position that the venue names, if fills before it are missing."""
        start, now = fill.start, self._now
        held = Decimal(0) if now is None else now.size
        if start is None or (held is not None and abs(start - held) <= _DUST * abs(start)):
            return
        if now is not None and start and (start > 0) == now.long:
            now.size = start
            return
        self.broken += now is not None
        self._now = _Position(fill, start > 0, start) if start else None

    def _take_inside(self, now: _Position, fill: Fill) -> Iterator[FileTrade]:
        """Take a fill of a trade whose size is not known: it ends before the next opening."""
        size = fill.bought or Decimal(0)
        closes = not size or (size > 0) != now.long
        if closes and fill.opens is not True:
            now.add(fill, size, opens=False)
            if not size or fill.opens is None:  # closed for certain, or turned
                yield from self._finish(now, fill)
            return
        yield from self._finish(now, now.fills[-1])
        yield from self.take(fill)

    def _turn(self, now: _Position, fill: Fill, size: Decimal) -> Iterator[FileTrade]:
        """Split a fill that closes one trade and opens the opposite one."""
        assert now.size is not None
        closes = -now.size
        fee = fill.fee * float(closes / size)
        now.add(replace(fill, fee=fee), closes, opens=False, pnl_fee=fill.fee)
        yield from self._finish(now, fill)
        pnl = None if fill.pnl is None else 0.0
        rest = replace(
            fill, bought=size - closes, fee=fill.fee - fee, pnl=pnl, start=None, is_part=True
        )
        self._now = _Position(rest, size > 0, Decimal(0))
        self._now.add(rest, size - closes, opens=True, pnl_fee=0.0)

    def _finish(self, now: _Position, last: Fill) -> Iterator[FileTrade]:
        self._now = None
        net = last.net if self.net is None else self.net
        if trade := now.trade(last, net=net):
            yield trade
        else:
            self.broken += 1

    def _judge_pnl(self, fill: Fill) -> None:
        """Learn from an opening fill, which earns nothing, whether `pnl` is after fees."""
        if fill.pnl is None or not fill.fee or fill.is_part:
            return
        if abs(fill.pnl + fill.fee) <= _SAME * abs(fill.fee):
            self.net = True
        elif not fill.pnl:
            self.net = False
