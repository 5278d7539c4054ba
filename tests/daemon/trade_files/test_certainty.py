"""What a file leaves uncertain is refused by its reason: no number is taken for another."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.trade_files.reading import NOW_MS, Opened, ids, read
from tests.daemon.trade_files.venue_fills import Leg, ccxt, market

TIMES = f"{NOW_MS - 90_000},{NOW_MS - 60_000}"
HEAD = "trade_id,side,opened_ms,closed_ms"


def trade(i: int, **fields: Any) -> dict[str, Any]:
    times = {"opened_ms": NOW_MS - 90_000, "closed_ms": NOW_MS - 60_000 + i}
    return {"trade_id": f"t{i}", "side": "buy", **times, "pnl": 1.5, **fields}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("columns", "values", "pnl"),
    [
        ("PnL %,PnL", "-1.5,20", 20),
        ("PnL,fee,Net PnL", "0.5,0.75,-0.25", -0.25),
        ("PnL %", "-1.5", None),
        ("pnl,pnl", "2,-2", None),
        ("Pnl,PNL", "2,-2", None),
        ("pnl_usd", "2", None),
    ],
)
def test_the_profit_is_taken_from_the_column_that_is_surely_it(
    opened: Opened, columns: str, values: str, pnl: float | None
) -> None:
    file = opened("a", f"{HEAD},{columns}\na,buy,{TIMES},{values}\n")
    assert [each.pnl for each in read(file)] == ([] if pnl is None else [pnl])
    assert dict(file.counts.bad) == ({"no column 'pnl'": 1} if pnl is None else {})


def test_ids_that_a_table_turned_into_other_numbers_are_the_same_or_bad(opened: Opened) -> None:
    rows = (7, 8.0, "9.0", "1.79582E+12", "NaN", "<NA>", None, "5e22")
    file = opened("a", lines(*(trade(i, trade_id=each) for i, each in enumerate(rows))))
    assert ids(file) == ["7", "8", "9", "5e22"]
    assert dict(file.counts.bad) == {"trade_id is rounded": 1, "trade_id is empty": 3}


def test_times_that_a_spreadsheet_rounded_are_bad(opened: Opened) -> None:
    exact = "1.795999940000000000e+12"  # as numpy writes it
    file = opened("a", f"{HEAD},pnl\na,buy,{exact},1.796E+12,1\nb,buy,{exact},{exact},1\n")
    assert [each.closed_ms for each in read(file)] == [1_795_999_940_000]
    assert dict(file.counts.bad) == {"closed_ms is no time": 1}


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"status": "open"}, "open"),
        ({"State": "ACTIVE"}, "open"),
        ({"event": "entry"}, "open"),
        ({"status": "Canceled", "pnl": 0}, "cancelled"),
        ({"action": "partial close"}, "parts of a close"),
        ({"status": "closed"}, None),
        ({"type": "market"}, None),
    ],
)
def test_what_a_record_says_of_its_stage_decides_whether_it_is_a_closed_trade(
    opened: Opened, fields: dict[str, Any], kind: str | None
) -> None:
    file = opened("a", lines(trade(1, **fields)))
    assert len(read(file)) == (kind is None)
    assert dict(file.counts.others) == ({kind: 1} if kind else {})


def test_a_record_of_an_opening_is_joined_with_that_of_the_close_by_the_id(opened: Opened) -> None:
    opening = {"event": "open", "trade_id": 5, "side": "sell", "opened_ms": NOW_MS - 9, "pnl": 0}
    opening |= {"coin": "BTC", "entry": 100, "size": 2}
    closing = {"event": "close", "trade_id": 5, "side": "buy", "closed_ms": NOW_MS - 5, "pnl": -3}
    other = {**closing, "coin": "ETH"}
    file = opened("a", lines(opening, closing, {**closing, "trade_id": 6}, opening, other))
    (found,) = read(file)
    assert (found.side, found.opened_ms, found.pnl) == ("sell", NOW_MS - 9, -3)
    assert (found.coin, found.notional) == ("BTC", 200)
    assert dict(file.counts.bad) == {"no column 'opened_ms'": 2}
    whole = trade(5, trade_id=5)  # its ids begin from 1 again
    assert [each.side for each in read(opened("b", lines(opening, whole)))] == ["buy"]


@pytest.mark.parametrize(
    "fields",
    [
        {"funding": -0.1},
        {"status": "closed", "filled": 2},
        {"symbol": "BTC/USDC:USDC", "price": 1, "amount": 2, "timestamp": NOW_MS},
        {"fills": []},
        {"fills": [{"coin": "BTC", "px": "1", "sz": "1", "side": "B", "time": NOW_MS}]},
        {"data": {"rsi": 1}, "trades": [1]},
    ],
)
def test_a_trade_of_the_bot_is_one_whatever_stands_beside_it(
    opened: Opened, fields: dict[str, Any]
) -> None:
    file = opened("a", lines(trade(1, **fields)))
    assert ids(file) == ["t1"]
    assert not file.counts.others
    assert not file.counts.bad


@pytest.mark.parametrize("count", [1, 3000])
def test_trades_in_lists_by_coin_are_those_of_the_coin(opened: Opened, count: int) -> None:
    whole = {name: [trade(i) for i in range(count)] for name in ("BTC", "ETH/USDC:USDC", "history")}
    found = read(opened("a", json.dumps(whole)))
    assert [each.coin for each in found[::count]] == ["BTC", "ETH/USDC:USDC", ""]
    assert len(found) == 3 * count
    by_id = {f"T{i}": trade(i) for i in range(3)}
    assert [each.coin for each in read(opened("b", json.dumps(by_id)))] == [""] * 3


@pytest.mark.parametrize("count", [1, 3000])
def test_a_bad_record_among_trades_under_any_key_is_told_of(opened: Opened, count: int) -> None:
    bad = {k: v for k, v in trade(0).items() if k != "pnl"}
    file = opened("a", json.dumps({"history": [*map(trade, range(count)), bad, trade(count)]}))
    assert len(read(file)) == count + 1
    assert dict(file.counts.bad) == {"no column 'pnl'": 1}


@pytest.mark.parametrize("name", ["token", "Base Asset", "underlying"])
def test_further_names_of_the_column_of_the_coin_are_known(opened: Opened, name: str) -> None:
    assert [each.coin for each in read(opened("a", lines(trade(1, **{name: "ETH"}))))] == ["ETH"]


def test_rows_behind_a_hash_are_told_of_and_a_header_behind_one_is_taken(opened: Opened) -> None:
    text = f"# my bot, v2\n# {HEAD},pnl\na,buy,{TIMES},1\n#b,buy,{TIMES},1\n# the end\n"
    file = opened("a", text)
    assert ids(file) == ["a"]
    assert dict(file.counts.others) == {"rows behind a #": 1}
    assert not file.counts.bad


def test_a_new_header_of_unknown_names_is_not_read_by_the_one_of_before(
    opened: Opened, tmp_path: Path
) -> None:
    file = opened("a", f"{HEAD},pnl\na,buy,{TIMES},1\n")
    assert len(read(file)) == 1
    aside = tmp_path / "aside"
    aside.write_text(f"id,way,entry_time,exit_time,profit_pct\nb,buy,{TIMES},-0.4\n")
    aside.replace(file.path)
    assert read(file) == []
    assert dict(file.counts.bad) == {"no column 'trade_id'": 1}


@pytest.mark.parametrize(
    ("word", "side"),
    [
        ("OrderSide.SELL", "sell"),
        ("sell to open", "sell"),
        ("BUY_TO_OPEN", "buy"),
        ("buy-to-close", None),
        ("-1", None),
    ],
)
def test_a_side_is_that_of_the_opening_order_or_bad(
    opened: Opened, word: str, side: str | None
) -> None:
    sides = [each.side for each in read(opened("a", lines(trade(1, side=word))))]
    assert sides == [side] * bool(side)


def test_a_table_of_freqtrades_trades_whose_flags_became_numbers_keeps_its_sides(
    opened: Opened,
) -> None:
    at = "2026-11-28 10:05:00+00:00"
    file = opened(
        "a",
        "pair,open_date,close_date,profit_abs,is_short,is_open,trade_id\n"
        f"BTC/USDC:USDC,{at},{at},-3.5,1.0,0.0,4.0\n"
        f"BTC/USDC:USDC,{at},NaT,nan,True,True,5.0\n",
    )
    (found,) = read(file)
    assert (found.side, found.trade_id.split("-")[1]) == ("sell", "4")
    assert dict(file.counts.others) == {"open": 1}


@pytest.mark.parametrize("dumps", [repr, json.dumps])
def test_the_venues_own_fill_is_read_from_a_table_of_ccxts_fills(
    opened: Opened, dumps: Callable[[Any], str]
) -> None:
    """Without it, a table that begins inside a trade has all of its trades turned about."""
    legs = [Leg(Decimal(size), Decimal(100 + i)) for i, size in enumerate(("1", "-1", "-2", "2"))]
    made = market(legs)
    rows = [{**ccxt(fill, info=False), "info": dumps(fill)} for fill in made.fills]
    sides = [each.side for each in read(opened("a", lines(*rows[1:])))]
    assert sides == [known.side for known in made.trades] == ["buy", "sell"]


def test_the_fills_of_two_accounts_in_one_stream_are_trades_of_their_own(opened: Opened) -> None:
    legs = [Leg(Decimal(size), Decimal(100 + i)) for i, size in enumerate(("1", "-0.4", "-0.6"))]
    made = market(legs)
    text = lines(made.fills[0])  # as the REST answer has it, which names nobody
    for fill in made.fills:
        for user in ("0xA", "0xB"):
            own = {**fill, "tid": fill["tid"] + 100 * (user == "0xB")}
            data = {"user": user, "fills": [own]}
            text += lines({"channel": "userFills", "data": data})
    file = opened("a", text)
    assert [each.pnl for each in read(file)] == pytest.approx([made.trades[0].pnl] * 2)
    assert not file.counts.others
