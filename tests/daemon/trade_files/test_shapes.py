"""Files of trades as other programs write them are read, or told of in one line."""

import datetime as dt
import gzip
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from hyperdrift.slot_name import DAY_MS
from tests.daemon.trade_files.reading import NOW_MS, Opened, ids, read

FIELD = Path(__file__).parents[4] / "shared" / "field" / "trades"


def trade(i: int, **fields: Any) -> dict[str, Any]:
    times = {"opened_ms": NOW_MS - 90_000, "closed_ms": NOW_MS - 60_000 + i}
    return {"trade_id": f"t{i}", "side": "long", **times, "pnl": 1.5, "coin": "BTC", **fields}


TRADES = [trade(i) for i in range(3)]


def table(rows: list[dict[str, Any]], delimiter: str = ",", end: str = "\n") -> str:
    lines = [delimiter.join(rows[0]), *(delimiter.join(map(str, row.values())) for row in rows)]
    return "".join(line + end for line in lines)


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


SHAPES: dict[str, bytes | str] = {
    "array.json": json.dumps(TRADES),
    "pretty.json": json.dumps({"trades": TRADES, "count": 3}, indent=2),
    "no_suffix": lines(TRADES),
    "json_inside.csv": lines(TRADES),
    "semicolon.csv": table([{**each, "pnl": "1,5"} for each in TRADES], ";"),
    "tab.tsv": table(TRADES, "\t"),
    "crlf.csv": "\ufeffsep=,\r\n" + table(TRADES, end="\r\n"),
    "quoted.csv": table([{**each, "note": '"two\nlines"'} for each in TRADES]),
    "stray_quote.csv": table([{**each, "note": '5" x'} for each in TRADES]),
    "utf16.csv": table(TRADES).encode("utf-16"),
    "utf16_without_mark.jsonl": lines(TRADES).encode("utf-16-be"),
    "latin1.csv": table([{**each, "note": "Gewähr"} for each in TRADES]).encode("latin-1"),
    "hole_of_copytruncate.jsonl": bytes(5000) + lines(TRADES).encode(),
    "other_case.csv": table(TRADES).replace("trade_id,side", "Trade_ID,Side"),
    "spaced_names.csv": table(TRADES).replace("trade_id,side", "Trade ID,Side"),
    "carriage_returns.csv": table(TRADES, end="\r") + "\n",
    "tab_and_decimal_comma.tsv": table([{**each, "pnl": "1,50"} for each in TRADES], "\t"),
    "mail_dates.jsonl": lines([{**t, "opened_ms": "4 Jan 2020 00:00:01 UTC"} for t in TRADES]),
    "seconds.jsonl": lines([{**t, "closed_ms": t["closed_ms"] / 1000} for t in TRADES]),
    "under_another_key.json": json.dumps({"open": [], "history": TRADES}),
    "by_index.json": json.dumps({str(i): each for i, each in enumerate(TRADES)}),
    "answer.json": json.dumps({"status": "ok", "response": {"list": {"BTC": TRADES}}}),
    "us.jsonl": lines([{**t, "closed_ms": t["closed_ms"] * 1000} for t in TRADES]),
    "ns.csv": table([{**t, "closed_ms": t["closed_ms"] * 1_000_000} for t in TRADES]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_is_read_whatever_its_container_and_units(opened: Opened, name: str) -> None:
    file = opened(name, SHAPES[name])
    found = read(file)
    assert [each.trade_id for each in found] == ["t0", "t1", "t2"]
    assert [each.closed_ms for each in found] == [each["closed_ms"] for each in TRADES]
    assert {each.pnl for each in found} == {1.5}
    assert not file.counts.bad


def test_words_for_sides_and_signs_of_losses_are_understood(opened: Opened) -> None:
    rows = [
        trade(0, side="S", pnl="(1,234.50)"),
        trade(1, side="open_short", pnl="-$2.5"),
        trade(2, side="SELL_SHORT", pnl="\u22122.5 USDC"),
        trade(3, side="Short position", pnl="-1.234,50"),
        trade(4, side="close long"),
        trade(5, pnl="1,234"),  # a decimal or thousands
    ]
    file = opened("words.jsonl", lines(rows))
    found = read(file)
    assert {each.side for each in found} == {"sell"}
    assert [each.pnl for each in found] == [-1234.5, -2.5, -2.5, -1234.5]
    assert dict(file.counts.bad) == {"side is neither buy nor sell": 1, "pnl is no number": 1}


@pytest.mark.parametrize("name", ["Coin", "SYMBOL", "Trading Pair", "instId"])
def test_the_column_of_the_coin_is_seen_however_its_name_is_written(
    opened: Opened, name: str
) -> None:
    rows = [{**{k: v for k, v in each.items() if k != "coin"}, name: "ETH"} for each in TRADES]
    assert {each.coin for each in read(opened("eth.csv", table(rows)))} == {"ETH"}


def test_rows_without_names_are_told_of(opened: Opened) -> None:
    split = {"columns": list(TRADES[0]), "data": [list(each.values()) for each in TRADES]}
    file = opened("split.json", json.dumps(split))
    assert read(file) == []
    assert file.counts.bad.total() == 3


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("29 Nov 2026 11:53:20 PM", True),
        ("Nov 29, 2026, 11:53:20 p.m.", True),
        ("29 November 2026 23:53:20", True),
        ("Sun Nov 29 23:53:20 2026", True),
        ("Sun, 29 Nov 2026 23:53:20 GMT", True),
        ("Mon, 30 Nov 2026 01:53:20 +0200", True),
        ("Mon Nov 30 2026 01:53:20 GMT+0200 (Eastern European Standard Time)", True),
        ("29 Nov 2026 13:53:20 PM", False),
        ("30 Nov 2026 00:53:20 CET", False),
        ("Sun, 29 Nov 2026 18:53:20 EST", False),
        ("30 Nov 2026 01:53:20 GMT+2", False),
    ],
)
def test_a_date_with_a_named_month_is_read_whole_or_bad(
    opened: Opened, text: str, is_read: bool
) -> None:
    at_ms = 1_795_996_400_000
    row = trade(1, opened_ms=1_795_000_000, closed_ms=text)
    file = opened("a.jsonl", lines([row]), now_ms=at_ms + DAY_MS)
    assert [each.closed_ms for each in read(file)] == [at_ms] * is_read
    assert dict(file.counts.bad) == ({} if is_read else {"closed_ms is no time": 1})


@pytest.mark.parametrize("value", [None, "", "NaT", 0, "null"])
def test_a_trade_that_is_still_open_is_no_bad_line(opened: Opened, value: object) -> None:
    file = opened("a.jsonl", lines([TRADES[0], trade(1, closed_ms=value, pnl=None), TRADES[2]]))
    assert ids(file) == ["t0", "t2"]
    assert (dict(file.counts.others), dict(file.counts.bad)) == ({"open": 1}, {})


@pytest.mark.parametrize("count", [3, 4000])
def test_trades_under_any_key_are_read_or_told_of(opened: Opened, count: int) -> None:
    rows = [trade(i) for i in range(count)]
    file = opened("a.json", json.dumps({"equity": [1, 2], "history": rows}))
    assert ids(file) == [each["trade_id"] for each in rows]
    named = [{"nr": i, "won": 1.5} for i in range(8 * count)]
    file = opened("b.json", json.dumps({"history": named}))
    assert read(file) == []
    assert file.counts.bad.total() == 1
    assert read(file) == []
    assert file.counts.bad.total() == 1


def test_an_array_that_is_written_anew_with_each_trade_counts_no_line_twice(
    opened: Opened, tmp_path: Path
) -> None:
    bad = {"trade_id": "x"}
    file = opened("all.json", json.dumps([bad, TRADES[0]]))
    assert ids(file) == ["t0"]
    (tmp_path / "all.json").write_text(json.dumps([bad, *TRADES]))
    assert ids(file) == ["t0", "t1", "t2"]  # the first is known to the journal
    aside = tmp_path / "aside"
    aside.write_text(json.dumps([bad, *TRADES, trade(3)]))
    aside.rename(tmp_path / "all.json")
    assert ids(file)[-1] == "t3"
    assert file.counts.bad.total() == 1


@pytest.mark.parametrize("form", ["renamed", "truncated"])
def test_a_header_that_a_rotation_lost_is_remembered(
    opened: Opened, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "trades.csv"
    columns = {"pnl": "profit"}
    text = table([{**each, "profit": each.pop("pnl")} for each in map(dict, TRADES)])
    head, first, *rest = text.splitlines(keepends=True)
    file = opened("trades.csv", head + first, columns=columns)
    assert ids(file) == ["t0"]
    if form == "renamed":
        path.rename(tmp_path / "trades.csv.1")
    path.write_text("".join(rest))
    assert ids(file) == ["t1", "t2"]
    again = opened("trades.csv", columns=columns)
    again.header = file.header  # kept over a restart
    assert ids(again)[-2:] == ["t1", "t2"]
    if form == "renamed":
        packed = gzip.compress((tmp_path / "trades.csv.1").read_bytes())
        (tmp_path / "trades.csv.2.gz").write_bytes(packed)
        (tmp_path / "trades.csv.1").unlink()
        assert ids(opened("trades.csv", columns=columns)) == ["t0", "t1", "t2"]
        (tmp_path / "trades.csv.2.gz").rename(tmp_path / "old.gz")
        (tmp_path / "trades.csv.1").write_text(head + first)
    unaware = opened("trades.csv", columns=columns)
    assert ids(unaware) == (["t0", "t1", "t2"] if form == "renamed" else [])
    assert dict(unaware.counts.bad) == ({} if form == "renamed" else {"the file has no header": 2})


def test_a_file_without_any_header_is_read_if_its_columns_are_certain(opened: Opened) -> None:
    ours = "\n".join(f"t{i},buy,{NOW_MS - 9},{NOW_MS - 8},1.5" for i in range(2)) + "\n"
    assert ids(opened("ours.csv", ours)) == ["t0", "t1"]
    page = opened(
        "page.csv",
        "17/01/2026 - 10:00:00,BTC,Open Long,100,1,100,0.05,-0.05\n"
        "17/01/2026 - 10:05:00,BTC,Close Long,101,1,101,0.05,0.95\n",
        now_ms=1_769_000_000_000,
    )
    (found,) = read(page)
    assert found.side == "buy"
    assert found.pnl == pytest.approx(0.9)


@pytest.mark.parametrize("name", ["a.xlsx", "a.csv.gz", "a.parquet"])
def test_a_file_that_is_no_text_is_told_of_once_with_what_to_do(opened: Opened, name: str) -> None:
    begin = {"a.xlsx": b"PK\x03\x04", "a.csv.gz": b"\x1f\x8b\x08\x00", "a.parquet": b"PAR1"}[name]
    file = opened(name, begin + os.urandom(4000))
    assert read(file) == []
    assert file.counts.trouble.startswith("it is ")
    assert ": " in file.counts.trouble
    assert not file.counts.bad


def test_what_cannot_be_a_trade_is_counted_by_its_reason(opened: Opened) -> None:
    rows = [
        trade(0, closed_ms=NOW_MS + 600_000),
        trade(1, closed_ms=NOW_MS + 60_000),  # the clocks of bot and venue differ
        trade(2, closed_ms=1),
        trade(3, pnl=True),
        trade(4, side=None),
        trade(5, trade_id="x" * 300),
        {"id": "1", "symbol": "BTC", "side": "buy", "price": 1, "amount": 1, "timestamp": NOW_MS}
        | {"status": "canceled", "filled": 0},
    ]
    file = opened("a.jsonl", lines(rows) + "[" * 20_000 + "\n" + '{"a":' * 9000 + "\n\x1b[2J\n")
    assert ids(file) == ["t1"]
    assert dict(file.counts.bad) == {
        "it closes in the future": 1,
        "closed_ms is no time": 1,
        "pnl is no number": 1,
        "side is neither buy nor sell": 1,
        "trade_id is too long or has odd characters": 1,
        "it is no JSON": 3,
    }
    assert dict(file.counts.others) == {"orders": 1}
    assert file.counts.first_bad.isprintable()


def test_however_many_kinds_of_bad_lines_come_few_are_kept(opened: Opened) -> None:
    file = opened("a.jsonl", lines([{"trade_id": i, f"k{i}": i, "side": "x"} for i in range(99)]))
    read(file)
    assert file.counts.bad.total() == 99
    file = opened("b.jsonl", "".join(json.dumps({f"c{i}": 1} | trade(i)) + "\n" for i in range(99)))
    for each in read(file):
        file.counts.no_slot.add(f"\x1b{each.trade_id}" * 50)
    assert len(file.counts.no_slot) == 21
    assert all(len(name) < 70 and name.isprintable() for name in file.counts.no_slot)


def freqtrade(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=wal")
    database.execute(
        "CREATE TABLE trades (id INTEGER PRIMARY KEY, pair, is_open, is_short, open_rate,"
        " close_rate, open_date, close_date, close_profit_abs, timeframe)"
    )
    return database


def closed(database: sqlite3.Connection, i: int, ago_s: int, **fields: Any) -> None:
    def at(seconds: int) -> str:
        when = dt.datetime.fromtimestamp(NOW_MS / 1000 - seconds, dt.UTC)
        return f"{when:%Y-%m-%d %H:%M:%S.%f}"

    row = {"id": i, "pair": "BTC/USDC:USDC", "is_open": 0, "is_short": i % 2, "open_rate": 1.0}
    row |= {"close_rate": 2.0, "open_date": at(ago_s + 60), "close_date": at(ago_s)}
    row |= {"close_profit_abs": i * 1.5, "timeframe": 5, **fields}
    marks = ", ".join("?" * len(row))
    database.execute(f"INSERT INTO trades VALUES ({marks})", tuple(row.values()))
    database.commit()


def test_freqtrades_database_is_followed_while_it_writes(opened: Opened, tmp_path: Path) -> None:
    database = freqtrade(tmp_path / "tradesv3.sqlite")
    closed(database, 1, 100)
    closed(database, 2, 50)
    closed(database, 3, 0, is_open=1, close_date=None, close_profit_abs=None)
    closed(database, 4, 50 * DAY_MS // 1000)
    file = opened("tradesv3.sqlite")
    first, second = read(file)
    assert (first.side, first.pnl, first.coin) == ("sell", 1.5, "BTC/USDC:USDC")
    assert (second.side, second.interval) == ("buy", "5")
    assert first.trade_id.startswith("freqtrade-1-")
    assert file.counts.old == 1
    closed(database, 5, 75)  # it closed before the second one, and is stored after it
    assert [each.pnl for each in read(file)] == [7.5]
    assert read(file) == []
    database.execute("DROP TABLE trades")
    with pytest.raises(OSError, match="without freqtrade's table"):
        file.new()
    database.close()


def test_freqtrades_exports_are_read(opened: Opened) -> None:
    row = {"pair": "BTC/USDC:USDC", "open_timestamp": NOW_MS - 900, "close_timestamp": NOW_MS}
    row |= {"open_date": "2026", "close_date": "2026", "profit_abs": -2.5, "is_short": False}
    whole = {"strategy": {"Mine": {"trades": [row], "results_per_pair": [{"key": "BTC"}]}}}
    file = opened("backtest.json", json.dumps({**whole, "strategy_comparison": [{"key": 1}]}))
    (found,) = read(file)
    assert (found.pnl, found.side, found.closed_ms) == (-2.5, "buy", NOW_MS)
    assert not file.counts.bad
    large = {**whole["strategy"]["Mine"], "trades": [row | {"trade_id": i} for i in range(3000)]}
    file = opened("large.json", json.dumps({"strategy": {"Mine": large}}))
    assert len(read(file)) == 3000
    assert not file.counts.bad


@pytest.mark.skipif(not FIELD.is_dir(), reason="needs ../shared/field")
@pytest.mark.parametrize("path", sorted(FIELD.glob("*")), ids=lambda path: path.name)
def test_the_files_from_the_field_are_read(opened: Opened, path: Path) -> None:
    file = opened(path)
    assert read(file)
    assert not file.counts.bad
    assert file.counts.trouble == ""
