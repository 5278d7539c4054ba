"""Trades from a file: each once, whatever the bot and its log rotation do to the file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.trade_files.trade_counts import described
from daemon.trade_files.trade_file import TradeFile
from tests.captured import capture_logs
from tests.daemon.trade_files.reading import NOW_MS, Opened, ids, read


def line(trade_id: object, **fields: Any) -> str:
    whole = {"trade_id": trade_id, "side": "buy", "opened_ms": NOW_MS - 9, "closed_ms": NOW_MS - 5}
    return json.dumps({**whole, "pnl": 1.5, **fields}) + "\n"


def test_a_csv_file_with_other_names_and_times_is_read_by_its_columns(
    opened: Opened, tmp_path: Path
) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(
        "\ufeffid;direction;open_time;close_time;profit;fee\n"
        "7;LONG;2025-07-01T10:00:00Z;2025-07-01 10:05:00;-2.5;0.1\n"
        "8;short;1751364000;1751364300.5;3;0.1\n"
    )
    columns = {"trade_id": "id", "side": "direction", "pnl": "profit"}
    columns |= {"opened_ms": "open_time", "closed_ms": "close_time"}
    first, second = read(opened(path, columns=columns))
    assert (first.trade_id, first.side, first.pnl) == ("7", "buy", -2.5)
    assert (first.opened_ms, first.closed_ms) == (1_751_364_000_000, 1_751_364_300_000)
    assert (second.side, second.opened_ms) == ("sell", 1_751_364_000_000)
    assert second.closed_ms == 1_751_364_300_500


def test_a_line_counts_once_its_newline_is_there(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    file = opened(path)
    assert ids(file) == []  # the bot has not made it yet
    text = line(1)
    path.write_text(text[:20])
    assert ids(file) == []
    with path.open("a") as out:
        out.write(text[20:] + line(2))
    assert ids(file) == ["1", "2"]
    assert ids(file) == []


def test_a_rotated_file_is_read_to_its_end_before_the_new_one_is_begun(
    opened: Opened, tmp_path: Path
) -> None:
    path = tmp_path / "trades.jsonl"
    path.write_text(line(1))
    file = opened(path)
    assert ids(file) == ["1"]
    with path.open("a") as out:
        out.write(line(2) + line(3).rstrip())  # the last one without its newline
    path.rename(tmp_path / "trades.jsonl.1")
    path.write_text(line(4))
    assert ids(file) == ["2", "3", "4"]


@pytest.mark.parametrize(
    "again", [line(9), line(9) + line(10, pnl=-7.25) + line(11)], ids=["shorter", "longer"]
)
def test_a_truncated_file_is_read_from_its_beginning(
    opened: Opened, tmp_path: Path, again: str
) -> None:
    path = tmp_path / "trades.jsonl"
    path.write_text(line(1) + line(2))
    file = opened(path)
    assert ids(file) == ["1", "2"]
    path.write_text(again)  # the same file, shorter or longer than before
    assert ids(file) == [str(json.loads(text)["trade_id"]) for text in again.splitlines()]


def test_bad_lines_are_counted_said_once_and_stop_nothing(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    bad = ["nonsense", "[1]", line(1, side="up"), line(2, pnl="NaN"), line("", pnl=1), "{}"]
    bad += [line(3, opened_ms="yesterday"), line(4, closed_ms=1), line(5, closed_ms=float("inf"))]
    path.write_text("\n".join(bad) + "\n\n" + line(6))
    file = opened(path)
    with capture_logs() as logs:
        assert ids(file) == ["6"]
    assert sum(file.counts.bad.values()) == len(bad)
    assert {entry["event"] for entry in logs} == {"trades.bad_line"}
    assert len(logs) == len(file.counts.bad) < len(bad)
    assert "[trades.columns]" in logs[0]["remedy"]


@pytest.mark.parametrize("field", ["px", "sz", "side", "time", "closedPnl", "startPosition", "fee"])
@pytest.mark.parametrize("value", [["1"], {"a": 1}, "\ud800", "9" * 5000, 10**400])
def test_a_fill_with_an_odd_value_is_bad_and_stops_nothing(
    opened: Opened, tmp_path: Path, field: str, value: object
) -> None:
    fill = {"coin": "BTC", "px": "61000", "sz": "1", "side": "A", "dir": "Close Long", "tid": 7}
    fill |= {"time": 1_742_774_400_000, "closedPnl": "1", "startPosition": "1", "fee": "0"}
    path = tmp_path / "trades.jsonl"
    path.write_text(json.dumps(fill | {field: value}) + "\n" + line(6))
    file = opened(path)
    assert ids(file) == ["6"]
    assert described(file.counts.state()).isprintable()


def test_a_missing_column_is_named(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("id,side\n1,buy\n")
    with capture_logs() as logs:
        read(opened(path, columns={"trade_id": "id"}))
    assert logs[0]["why"] == "no column 'opened_ms'; it has id, side"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=30))
def test_in_whatever_pieces_a_file_is_written_and_rotated_each_line_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("trades") / "trades.jsonl"
    text = "".join(line(i) for i in range(6))
    file, seen, rotated = TradeFile(path, {}, now_ms=lambda: NOW_MS), [], 0
    for length, rotate in pieces:
        with path.open("a") as out:
            out.write(text[: length * 5])
        text = text[length * 5 :]
        seen += ids(file)
        if rotate and path.read_text().endswith("\n"):  # rotation falls between two lines
            rotated += 1
            path.rename(path.with_suffix(f".{rotated}"))
    with path.open("a") as out:
        out.write(text)
    seen += ids(file)
    file.close()
    assert seen == [str(i) for i in range(6)]
