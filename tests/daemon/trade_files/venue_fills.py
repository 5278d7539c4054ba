"""Fills of known trades, as the venue, its page and ccxt write them."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

FEE = Decimal("0.0005")


@dataclass(frozen=True)
class Leg:
    """A fill: signed size, and the price, in whole cents."""

    size: Decimal
    px: Decimal


@dataclass(frozen=True)
class Known:
    """A trade from flat to flat."""

    side: str
    pnl: float


@dataclass
class Market:
    """Fills of one account in one coin, and the trades that they are."""

    fills: list[dict[str, Any]]
    trades: list[Known]


def market(legs: list[Leg], coin: str = "BTC", first_ms: int = 1_795_000_000_000) -> Market:
    """Fill the legs one after another, as the venue accounts for them."""
    at, cost, fills, trades = Decimal(0), Decimal(0), [], []
    gain = Decimal(0)
    for i, leg in enumerate(legs):
        before, fee = at, leg.size.copy_abs() * leg.px * FEE
        closes = min(abs(leg.size), abs(at)) if at * leg.size < 0 else Decimal(0)
        closed = closes * (leg.px - cost) * (1 if at > 0 else -1) if closes else Decimal(0)
        part = closes / abs(leg.size)
        gain += closed - fee * (part if closes else 1)
        at += leg.size
        if closes and (at == 0 or at * before < 0):
            trades.append(Known("buy" if before > 0 else "sell", float(gain)))
            gain = -fee * (1 - part)
            cost = leg.px
        elif not closes:
            cost = (cost * abs(before) + leg.px * abs(leg.size)) / abs(at)
        fills.append(_fill(i, leg, before=before, closed=closed, coin=coin, first_ms=first_ms))
    return Market(fills, trades)


def _fill(
    i: int, leg: Leg, *, before: Decimal, closed: Decimal, coin: str, first_ms: int
) -> dict[str, Any]:
    after = before + leg.size
    if before * after < 0:
        way = "Long > Short" if before > 0 else "Short > Long"
    elif abs(after) > abs(before):
        way = "Open Long" if after > 0 else "Open Short"
    else:
        way = "Close Long" if before > 0 else "Close Short"
    return {
        "coin": coin,
        "px": str(leg.px),
        "sz": str(abs(leg.size)),
        "side": "B" if leg.size > 0 else "A",
        "time": first_ms + i * 60_000,
        "startPosition": str(before),
        "dir": way,
        "closedPnl": str(closed),
        "hash": "0x" + f"{i:064x}",
        "oid": 1000 + i // 2,
        "crossed": True,
        "fee": str(abs(leg.size) * leg.px * FEE),
        "tid": 10_000 + i,
        "feeToken": "USDC",
        "twapId": None,
    }


def page_csv(fills: list[dict[str, Any]], form: str = "%d/%m/%Y - %H:%M:%S") -> str:
    """Return the export of the venue's page: newest first, `closedPnl` after the fill's fee."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time", "coin", "dir", "px", "sz", "ntl", "fee", "closedPnl"])
    for fill in reversed(fills):
        at = datetime.fromtimestamp(fill["time"] / 1000, UTC).strftime(form)
        px, sz, fee = (Decimal(fill[name]) for name in ("px", "sz", "fee"))
        net = Decimal(fill["closedPnl"]) - fee
        writer.writerow([at, fill["coin"], fill["dir"], px, sz, px * sz, fee, net])
    return out.getvalue()


def ccxt(fill: dict[str, Any], *, info: bool) -> dict[str, Any]:
    """Return a fill as ccxt's `fetchMyTrades` gives it."""
    return {
        "id": str(fill["tid"]),
        "timestamp": fill["time"],
        "datetime": datetime.fromtimestamp(fill["time"] / 1000, UTC).isoformat(),
        "symbol": f"{fill['coin']}/USDC:USDC",
        "order": str(fill["oid"]),
        "side": "buy" if fill["side"] == "B" else "sell",
        "price": float(fill["px"]),
        "amount": float(fill["sz"]),
        "fee": {"cost": float(fill["fee"]), "currency": "USDC"},
        **({"info": fill} if info else {}),
    }
