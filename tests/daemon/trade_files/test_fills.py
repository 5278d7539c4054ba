"""Fills are joined to the trades that they are, however a venue splits and repeats them."""

import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.trade_files.closed_trade import FileTrade
from daemon.trade_files.trade_file import TradeFile
from tests.daemon.trade_files.reading import NOW_MS, Opened, read
from tests.daemon.trade_files.venue_fills import Known, Leg, Market, ccxt, market, page_csv


def trades_in(path: Path) -> list[FileTrade]:
    with closing(TradeFile(path, {}, now_ms=lambda: NOW_MS)) as file:
        return read(file)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Trades of one coin from flat to flat; some turn straight into the next one."""
    steps = draw(st.lists(st.integers(-9, 9).filter(bool), min_size=1, max_size=25))
    prices = draw(st.lists(st.integers(5000, 20_000), min_size=25, max_size=25))
    sizes = [*(Decimal(step) / 100 for step in steps), -sum(Decimal(s) / 100 for s in steps)]
    legs = [
        Leg(size, Decimal(px) / 100)
        for size, px in zip(sizes, [*prices, 10_000], strict=False)
        if size
    ]
    return market(legs)


def same(found: list[FileTrade], known: list[Known]) -> None:
    assert [trade.side for trade in found] == [trade.side for trade in known]
    assert [trade.pnl for trade in found] == pytest.approx([t.pnl for t in known], abs=1e-6)
    assert len({trade.trade_id for trade in found}) == len(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fills")


@settings(max_examples=40, deadline=None)
@given(markets())
def test_every_shape_of_the_same_fills_gives_the_same_trades(folder: Path, made: Market) -> None:
    shapes = {
        "lines.jsonl": "".join(json.dumps(fill) + "\n" for fill in made.fills),
        "rest.json": json.dumps(made.fills[::-1]),
        "page.csv": page_csv(made.fills),
        "year_first.csv": page_csv(made.fills, "%Y/%m/%d - %H:%M:%S"),
        "archive.jsonl": "".join(json.dumps(["0x1", fill]) + "\n" for fill in made.fills),
        "shuffled.json": json.dumps(sorted(made.fills, key=lambda fill: fill["px"])),
        "ccxt.json": json.dumps([ccxt(fill, info=True) for fill in made.fills]),
        "bare.json": json.dumps([ccxt(fill, info=False) for fill in made.fills], indent=1),
        "socket.jsonl": json.dumps(
            {
                "channel": "userFills",
                "data": {"isSnapshot": True, "user": "0x", "fills": made.fills},
            }
        ),
    }
    for name, text in shapes.items():
        (folder / name).write_text(text)
        same(trades_in(folder / name), made.trades)


@settings(max_examples=40, deadline=None)
@given(markets(), st.data())
def test_no_splitting_of_fills_changes_a_trade(
    folder: Path, made: Market, data: st.DataObject
) -> None:
    split: list[dict[str, Any]] = []
    for fill in made.fills:
        split += pieces(fill, data.draw(st.integers(1, 3)))
    path = folder / "split.jsonl"
    path.write_text("".join(json.dumps(fill) + "\n" for fill in split))
    same(trades_in(path), made.trades)


def pieces(fill: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Split a fill that does not turn a position; a turn stays whole, as the venue has it."""
    if ">" in fill["dir"]:
        count = 1
    start, sign = Decimal(fill["startPosition"]), 1 if fill["side"] == "B" else -1
    for i in range(count):
        part = {name: str(Decimal(fill[name]) / count) for name in ("sz", "fee", "closedPnl")}
        at = start + sign * Decimal(fill["sz"]) * i / count
        yield {**fill, **part, "startPosition": str(at), "tid": f"{fill['tid']}{i}"}


PASS = st.tuples(st.integers(1, 30), st.integers(0, 3), st.booleans())


@settings(max_examples=30, deadline=None)
@given(markets(), st.lists(PASS, min_size=1, max_size=8))
def test_appended_in_pieces_repeated_and_restarted_each_trade_comes_once(
    folder: Path, made: Market, passes: list[tuple[int, int, bool]]
) -> None:
    path, known, found = folder / "grows.jsonl", 0, dict[str, FileTrade]()
    path.write_text("")
    file = TradeFile(path, {}, now_ms=lambda: NOW_MS)
    for count, repeats, restarts in [*passes, (len(made.fills), 3, True)]:
        first = max(0, known - repeats)  # a stream repeats its last fills when it is back
        with path.open("a") as out:
            out.writelines(json.dumps(fill) + "\n" for fill in made.fills[first : known + count])
        known = min(len(made.fills), known + count)
        if restarts:
            file.close()
            file = TradeFile(path, {}, now_ms=lambda: NOW_MS)
        for trade in read(file):
            found.setdefault(trade.trade_id, trade)
    file.close()
    same(list(found.values()), made.trades)


@settings(max_examples=30, deadline=None)
@given(markets())
def test_what_the_fills_earn_and_cost_is_what_the_trades_do(folder: Path, made: Market) -> None:
    path = folder / "sums.jsonl"
    path.write_text("".join(json.dumps(fill) + "\n" for fill in made.fills))
    trades = trades_in(path)
    fees, earned = (sum(float(fill[name]) for fill in made.fills) for name in ("fee", "closedPnl"))
    assert sum(trade.fee for trade in trades) == pytest.approx(fees, abs=1e-6)
    assert sum(trade.pnl for trade in trades) == pytest.approx(earned - fees, abs=1e-6)


def legs(*sizes: str) -> list[Leg]:
    return [Leg(Decimal(size), Decimal(100 + i)) for i, size in enumerate(sizes)]


def write(path: Path, fills: list[dict[str, Any]]) -> list[FileTrade]:
    path.write_text("".join(json.dumps(fill) + "\n" for fill in fills))
    return trades_in(path)


_SOME = market(
    [Leg(Decimal(size), Decimal(100 + i)) for i, size in enumerate(["1", "-1", "2", "-3", "1"])]
)


@pytest.mark.parametrize("form", ["capitals", "page_table", "twap", "ccxt_fees"])
def test_fills_under_other_names_give_the_same_trades(tmp_path: Path, form: str) -> None:
    rows: list[Any] = _SOME.fills
    if form == "capitals":
        rows = [{name.upper(): value for name, value in row.items()} for row in rows]
    elif form == "page_table":  # what the page shows, and not its export
        names = {"px": "Price", "sz": "Size", "dir": "Direction", "closedPnl": "Closed PNL"}
        rows = [
            {
                names.get(k, k.title()): v
                for k, v in row.items()
                if k in {*names, "time", "coin", "fee"}
            }
            | {"Size": f"{row['sz']} BTC"}
            for row in rows
        ]
    elif form == "twap":
        rows = [{"fill": row, "twapId": 7} for row in rows]
    else:
        rows = [
            {
                **ccxt(row, info=False),
                "fee": None,
                "fees": [{"cost": row["fee"], "currency": "USDC"}],
            }
            for row in rows
        ]
    path = tmp_path / "fills.json"
    path.write_text(json.dumps(rows))
    found = trades_in(path)
    assert [trade.side for trade in found] == [known.side for known in _SOME.trades]
    assert [trade.pnl for trade in found] == pytest.approx([known.pnl for known in _SOME.trades])


def test_openings_alone_are_no_trade_and_a_close_in_pieces_waits_for_the_last(
    tmp_path: Path,
) -> None:
    made = market(legs("1", "1", "-0.5", "-1.5"))
    for known in range(4):
        assert write(tmp_path / f"{known}.jsonl", made.fills[:known]) == []
    (trade,) = write(tmp_path / "all.jsonl", made.fills)
    assert (trade.entry, trade.exit) == pytest.approx((100.5, (102 * 0.5 + 103 * 1.5) / 2))
    assert (trade.opened_ms, trade.closed_ms) == (made.fills[0]["time"], made.fills[-1]["time"])


def test_a_file_that_begins_inside_a_trade_counts_what_it_shows(tmp_path: Path) -> None:
    made = market(legs("1", "1", "-0.5", "-1.5", "-1", "1"))
    first, second = write(tmp_path / "a.jsonl", made.fills[2:])
    assert (first.side, second.side) == ("buy", "sell")
    closed = sum(float(fill["closedPnl"]) - float(fill["fee"]) for fill in made.fills[2:4])
    assert first.pnl == pytest.approx(closed)
    (tmp_path / "page.csv").write_text(page_csv(made.fills[2:]))
    assert [trade.pnl for trade in trades_in(tmp_path / "page.csv")] == pytest.approx(
        [first.pnl, second.pnl]
    )


def test_a_trade_whose_fills_are_missing_in_the_middle_is_left_out(tmp_path: Path) -> None:
    made = market(legs("1", "-1", "2", "-2"))
    trades = write(tmp_path / "a.jsonl", [made.fills[0], *made.fills[2:]])
    assert [trade.pnl for trade in trades] == pytest.approx([made.trades[1].pnl])


@pytest.mark.parametrize(
    "way", ["Market Order Liquidation: Close Long", "Auto-Deleveraging", "Liquidated Cross Long"]
)
def test_what_the_page_calls_a_forced_close_is_one(tmp_path: Path, way: str) -> None:
    made = market(legs("1", "-1"))
    path = tmp_path / "page.csv"
    path.write_text(page_csv(made.fills).replace("Close Long", way))
    same(trades_in(path), made.trades)


def test_a_liquidation_closes_a_trade_and_spot_and_other_kinds_are_told_apart(
    opened: Opened, tmp_path: Path
) -> None:
    made = market(legs("1", "-1"))
    made.fills[1] |= {"dir": "Liquidated Cross Long", "liquidation": {"method": "market"}}
    spot = {**made.fills[0], "coin": "@107", "dir": "Buy", "tid": 5}
    paid = {"time": NOW_MS, "hash": "0x", "delta": {"type": "funding", "coin": "BTC"}}
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [*made.fills, spot, paid]))
    file = opened(path)
    same(read(file), made.trades)
    assert dict(file.counts.no_slot) == {"spot @107": 1}
    assert dict(file.counts.others) == {"funding payment": 1}
    assert not file.counts.bad


@pytest.mark.parametrize(
    "form", ["%m/%d/%Y - %H:%M:%S", "%d.%m.%Y - %H:%M:%S", "%m/%d/%Y, %I:%M:%S %p"]
)
def test_the_pages_dates_are_read_in_the_order_that_the_column_shows(
    tmp_path: Path, form: str
) -> None:
    made = market(legs("1", "-1", "-1", "1"), first_ms=NOW_MS - 40 * 3_600_000)
    made.fills[2:] = [{**fill, "time": fill["time"] + 86_400_000} for fill in made.fills[2:]]
    path = tmp_path / "page.csv"
    path.write_text(page_csv(made.fills, form))
    trades = trades_in(path)
    same(trades, made.trades)
    assert trades[0].closed_ms == made.fills[1]["time"] // 1000 * 1000


def test_dates_whose_order_nothing_shows_are_refused_with_the_reason(opened: Opened) -> None:
    text = page_csv(
        market(legs("1", "-1"), first_ms=1_793_577_600_000).fills, "03/02/2026 - %H:%M:%S"
    )
    file = opened("page.csv", text)
    read(file)
    assert dict(file.counts.bad) == {"the order of day and month is not certain": 2}


def test_a_page_of_gross_profits_is_known_by_its_openings(tmp_path: Path) -> None:
    made = market(legs("1", "-1"))
    rows = [
        ",".join(str(fill[n]) for n in ("time", "coin", "dir", "px", "sz")) for fill in made.fills
    ]
    money = [f",100,{fill['fee']},{fill['closedPnl']}" for fill in made.fills]
    path = tmp_path / "page.csv"
    head = "time,coin,dir,px,sz,ntl,fee,closedPnl\n"
    path.write_text(head + "".join(row + m + "\n" for row, m in zip(rows, money, strict=True)))
    same(trades_in(path), made.trades)
