"""Trades from a file: each once, whatever the bot and its log rotation do to the file."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.clock import VenueClock
from daemon.runtime import event_codec
from daemon.runtime.trade_file import TradeFile
from daemon.runtime.trades import KEPT_DAYS, TradeBook, TradeFollower
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.events import TradeClosed
from tests.captured import capture_logs

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")
NOW_MS = SystemClock().now_ms()


def line(trade_id: object, **fields: Any) -> str:
    whole = {"trade_id": trade_id, "side": "buy", "opened_ms": NOW_MS - 9, "closed_ms": NOW_MS - 5}
    return json.dumps({**whole, "pnl": 1.5, **fields}) + "\n"


Opened = Callable[..., TradeFile]


@pytest.fixture
def opened() -> Iterator[Opened]:
    files: list[TradeFile] = []

    def begin(path: Path, columns: dict[str, str] | None = None) -> TradeFile:
        files.append(TradeFile(path, columns or {}))
        return files[-1]

    yield begin
    for file in files:
        file.close()


def ids(file: TradeFile) -> list[str]:
    found: list[str] = []
    while trades := file.new():
        found += [trade.trade_id for trade in trades]
    return found


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
    first, second = opened(path, columns).new()
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
    assert file.bad_lines == len(bad)
    assert [entry["event"] for entry in logs] == ["trades.bad_line"]
    assert "[trades.columns]" in logs[0]["remedy"]


def test_a_missing_column_is_named(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("id,side\n1,buy\n")
    with capture_logs() as logs:
        opened(path, {"trade_id": "id"}).new()
    assert logs[0]["why"] == "no column 'opened_ms'"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=30))
def test_in_whatever_pieces_a_file_is_written_and_rotated_each_line_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, bool]]
) -> None:
    path = tmp_path_factory.mktemp("trades") / "trades.jsonl"
    text = "".join(line(i) for i in range(6))
    file, seen, rotated = TradeFile(path, {}), [], 0
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


class Desk:
    """Takes the trades of a follower, as keepers would: into the journal."""

    def __init__(self, store: ThreadedStore) -> None:
        self.store, self.taken = store, asyncio.Queue[TradeClosed]()

    async def put(self, slot: SlotName, closed: TradeClosed) -> None:
        await self.store.call(Store.append_journal, slot, closed.at_ms, *event_codec.body(closed))
        await self.taken.put(closed)

    @asynccontextmanager
    async def following(self, path: Path, *slots: SlotName) -> AsyncIterator[TradeBook]:
        clock = SystemClock()
        book = TradeBook(VenueClock(clock))
        await book.recall(self.store, slots)
        file = TradeFile(path, {})
        follower = TradeFollower(file, slots=slots, book=book, put=self.put, clock=clock)
        task = asyncio.create_task(follower.run())
        try:
            yield book
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def next(self) -> TradeClosed:
        async with asyncio.timeout(8):
            return await self.taken.get()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = ThreadedStore(Store.open_or_rebuild(tmp_path / "hyperdrift.db"))
    yield Desk(store)
    store.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as out:
        out.write(text)


async def test_what_a_bot_appends_arrives_at_once_and_a_restart_counts_nothing_twice(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "trades.jsonl"
    async with desk.following(path, BTC) as book:
        append(path, line(1))
        first = await desk.next()
        assert (first.trade_id, first.side, first.pnl) == ("1", "buy", 1.5)
        append(path, line(2))
        assert (await desk.next()).trade_id == "2"
        said = TradeReport(**json.loads(line("2")), entry=1.0, exit=1.0, size=1.0, fee=0.0)
        assert book.closed(BTC, said) is None  # the same trade over MQTT
    append(path, line(3))  # while nobody is looking
    async with desk.following(path, BTC):
        assert (await desk.next()).trade_id == "3"
    assert desk.taken.empty()


async def test_trades_that_closed_long_ago_are_left_out(desk: Desk, tmp_path: Path) -> None:
    path, old = tmp_path / "trades.jsonl", NOW_MS - KEPT_DAYS * DAY_MS - 60_000
    append(path, line(1, opened_ms=old - 5, closed_ms=old) + line(2))
    async with desk.following(path, BTC):
        assert (await desk.next()).trade_id == "2"


async def test_the_file_of_two_slots_says_whose_each_trade_is(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    append(path, line(1, coin="ETH") + line(2) + line(3, slot="BTC-5m") + line(4, coin="SOL"))
    append(path, line(5, coin="BTC"))
    with capture_logs() as logs:
        async with desk.following(path, BTC, ETH):
            found = [await desk.next() for _ in range(3)]
    assert [(t.trade_id, t.slot) for t in found] == [
        ("1", "ETH-5m"),
        ("3", "BTC-5m"),
        ("5", "BTC-5m"),
    ]
    (said,) = [entry for entry in logs if entry["event"] == "trades.whose"]
    assert '"slot"' in said["remedy"]


async def test_a_file_in_a_folder_that_may_not_be_looked_into_is_said_once_and_ends_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / ("x" * 300) / "trades.jsonl"  # refused to root, too
    with capture_logs() as logs:
        async with desk.following(path, BTC), asyncio.timeout(8):
            while not logs:
                await asyncio.sleep(0.01)
    assert logs[0]["event"] == "trades.unreadable"
    assert "let the daemon's user read the file" in logs[0]["remedy"]
