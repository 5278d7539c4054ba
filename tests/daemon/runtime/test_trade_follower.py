"""The file of trades is followed: each trade reaches its slot once, over restarts and rotations."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.core.clock import VenueClock
from daemon.runtime import event_codec
from daemon.runtime.trade_follower import TradeFollower
from daemon.runtime.trades import TradeBook
from daemon.store.async_store import ThreadedStore
from daemon.store.store import Store
from daemon.trade_files.trade_file import KEPT_DAYS, TradeFile
from hyperdrift.clock import SystemClock
from hyperdrift.mqtt.messages import TradeReport
from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.events import TradeClosed
from tests.captured import capture_logs
from tests.daemon.trade_files.venue_fills import Leg, market

BTC, ETH = SlotName("BTC", "5m"), SlotName("ETH", "5m")
NOW_MS = SystemClock().now_ms()


def line(trade_id: object, **fields: Any) -> str:
    whole = {"trade_id": trade_id, "side": "buy", "opened_ms": NOW_MS - 9, "closed_ms": NOW_MS - 5}
    return json.dumps({**whole, "pnl": 1.5, **fields}) + "\n"


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
        venue = VenueClock(clock)
        book = TradeBook(venue)
        await book.recall(self.store, slots)
        file = TradeFile(path, {}, now_ms=venue.now_ms, counts=book.in_file)
        follower = TradeFollower(
            file, slots=slots, book=book, put=self.put, clock=clock, store=self.store
        )
        task = asyncio.create_task(follower.run())
        try:
            yield book
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def next(self) -> TradeClosed:
        async with asyncio.timeout(60):
            return await self.taken.get()


@pytest.fixture(autouse=True)
def _nothing_is_found_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells of a change, or none is seen in time."""
    monkeypatch.setattr("daemon.runtime.trade_follower.POLL_S", 600.0)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    store = ThreadedStore(Store.open_or_rebuild(tmp_path / "hyperdrift.db"))
    yield Desk(store)
    store.close()


async def heard(logs: Sequence[Mapping[str, Any]], *events: str) -> None:
    async with asyncio.timeout(60):
        while not {entry["event"] for entry in logs} >= set(events):
            await asyncio.sleep(0.01)


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
            await heard(logs, "trades.no_slot")
    assert [(t.trade_id, t.slot) for t in found] == [
        ("1", "ETH-5m"),
        ("3", "BTC-5m"),
        ("5", "BTC-5m"),
    ]
    (said,) = [entry for entry in logs if entry["event"] == "trades.no_slot"]
    assert '"slot"' in said["remedy"]
    assert said["of"] == {"trades (BTC-5m or ETH-5m: which?)": 1, "SOL": 1}


async def test_a_file_in_a_folder_that_may_not_be_looked_into_is_said_once_and_ends_nothing(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / ("x" * 300) / "trades.jsonl"  # refused to root, too
    with capture_logs() as logs:
        async with desk.following(path, BTC), asyncio.timeout(60):
            while not logs:
                await asyncio.sleep(0.01)
    assert logs[0]["event"] == "trades.unreadable"
    assert "let the daemon's user read the file" in logs[0]["remedy"]


async def test_a_restart_still_knows_the_header_that_a_truncation_lost(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "trades.csv"
    times = f"{NOW_MS - 9},{NOW_MS - 5}"
    append(path, f"pnl,side,opened_ms,closed_ms,trade_id\n1,buy,{times},a\n")
    async with desk.following(path, BTC) as book:
        assert (await desk.next()).trade_id == "a"
        async with asyncio.timeout(60):
            while not list(desk.store.store.journal(BTC, kinds=["trade_header"])):
                await asyncio.sleep(0.01)
        assert book.state()["file"].taken == 1
    path.write_text(f"2,sell,{times},b\n")
    async with desk.following(path, BTC):
        assert (await desk.next()).trade_id == "b"


async def test_of_two_intervals_of_a_coin_the_trade_says_which(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "trades.jsonl"
    hourly = SlotName("BTC", "1h")
    append(path, line(1, pair="BTC/USDC:USDC", timeframe="1h") + line(2, coin="BTC-PERP"))
    append(path, line(3, coin="btc", timeframe="12h"))
    with capture_logs() as logs:
        async with desk.following(path, BTC, hourly) as book:
            assert (await desk.next()).slot == "BTC-1h"
            await heard(logs, "trades.no_slot")
    told = {"BTC-PERP (BTC-5m or BTC-1h: which?)": 1, "btc at 12h": 1}
    assert book.state()["file"].no_slot == told


def test_a_published_trade_is_judged_like_one_of_a_file() -> None:
    book = TradeBook(VenueClock(SystemClock()))
    report = TradeReport(**json.loads(line("1")), entry=1.0, exit=1.0, size=1.0, fee=0.0)
    with capture_logs() as logs:
        assert book.heeds(BTC, report)
        for ahead_ms in (DAY_MS, NOW_MS * 999, -2):  # the second is in microseconds
            assert not book.heeds(BTC, replace(report, closed_ms=report.opened_ms + ahead_ms))
        old_ms = NOW_MS - (KEPT_DAYS + 1) * DAY_MS
        assert not book.heeds(BTC, replace(report, opened_ms=old_ms, closed_ms=old_ms))
    counts = book.state()["messages"]
    assert counts.bad == {"it closes in the future": 2, "it closed before it was opened": 1}
    assert (counts.old, counts.taken) == (1, 0)
    assert [entry["event"] for entry in logs] == ["trades.bad_message"] * 2


async def test_parts_of_a_position_that_are_published_under_its_id_are_told_of_also_after_a_restart(
    desk: Desk,
) -> None:
    report = TradeReport(**json.loads(line("7")), entry=1.0, exit=1.0, size=1.0, fee=0.0)
    part = replace(report, opened_ms=report.opened_ms - 600_000, closed_ms=NOW_MS - 300_000)
    for restarts in range(2):
        book = TradeBook(VenueClock(SystemClock()))
        await book.recall(desk.store, [BTC])
        assert book.heeds(BTC, part) == (restarts == 0)
        if closed := book.closed(BTC, part):
            await desk.put(BTC, closed)
        rounded = replace(part, closed_ms=part.closed_ms // 1000 * 1000)
        assert not book.heeds(BTC, rounded), "the same trade, as a file may round it"
        assert book.state().keys() == set()
        with capture_logs() as logs:
            assert not book.heeds(BTC, report)
        assert book.state()["messages"].bad == {"it was reported before, with another close": 1}
        assert "once, when it is flat" in logs[0]["why"]


async def test_the_fills_of_eighty_trades_are_eighty_trades(desk: Desk, tmp_path: Path) -> None:
    sizes = [*(Decimal(n) for n in ("0.5", "0.5", "-1", "-0.4", "0.1", "0.3"))] * 40
    made = market(
        [Leg(n, Decimal(100 + i % 7)) for i, n in enumerate(sizes)], first_ms=NOW_MS - DAY_MS
    )
    path = tmp_path / "fills.jsonl"
    snapshot = {"isSnapshot": True, "user": "0x1", "fills": made.fills[100::-1]}
    append(path, json.dumps({"channel": "userFills", "data": snapshot}) + "\n")
    async with desk.following(path, BTC):
        for i in range(90, len(made.fills), 30):
            data = {"user": "0x1", "fills": made.fills[i : i + 30]}
            append(path, json.dumps({"channel": "userFills", "data": data}) + "\n")
        found = [await desk.next() for _ in made.trades]
    assert len(found) == 80
    assert [each.side for each in found] == [each.side for each in made.trades]
    assert [each.pnl for each in found] == pytest.approx([each.pnl for each in made.trades])
    assert desk.taken.empty()


def test_a_trade_that_is_published_for_no_slot_is_counted_and_told_of_once() -> None:
    book = TradeBook(VenueClock(SystemClock()))
    with capture_logs() as logs:
        for name in ["SOL-5m", "SOL-5m", "\x1b[2J", *(f"coin-{i}" for i in range(50))]:
            book.pass_over(name)
    assert book.state()["messages"].no_slot["SOL-5m"] == 2
    assert len(logs) == 21
    assert all(entry["slot"].isprintable() for entry in logs)


async def test_each_trade_of_a_file_that_is_written_anew_is_counted_once(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "trades.json"
    own = [json.loads(line(i)) for i in range(3)]
    sizes = [Leg(Decimal(size), Decimal(100)) for size in ("1", "-1", "2", "-2", "3", "-3")]
    fills = market(sizes, first_ms=NOW_MS - 3_600_000).fills
    for rows, at_once in ((own, 1), (fills, 2)):
        path.unlink(missing_ok=True)
        async with desk.following(path, BTC) as book:
            for known in range(at_once, len(rows) + 1, at_once):
                aside = tmp_path / "aside"
                aside.write_text(json.dumps(rows[:known][::-1]))  # the newest first
                aside.replace(path)
                await desk.next()
                assert book.in_file.taken == known // at_once


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_id_that_a_file_gives_to_another_trade_is_told_of_and_none_is_lost_in_silence(
    desk: Desk, tmp_path: Path, restarts: bool
) -> None:
    path, earlier = tmp_path / "trades.jsonl", NOW_MS - DAY_MS
    append(path, line(1, opened_ms=earlier, closed_ms=earlier))
    again = line(1) + line("1.0") + line(2)
    with capture_logs() as logs:
        if restarts:
            async with desk.following(path, BTC):
                await desk.next()
            path.write_text(again)
        else:
            append(path, again)
        async with desk.following(path, BTC) as book:
            assert [(await desk.next()).trade_id for _ in range(2 - restarts)][-1] == "2"
            assert book.in_file.bad == {"it was reported before, with another close": 2}
            assert book.in_file.taken == 2
    (said,) = [entry for entry in logs if entry["event"] == "trades.bad_line"]
    assert "an id of its own" in said["why"]
    assert desk.taken.empty()


async def test_what_a_file_is_is_told_of_also_if_it_could_not_be_read_before(
    desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "trades.jsonl"
    path.mkdir()
    with capture_logs() as logs:
        async with desk.following(path, BTC) as book:
            await heard(logs, "trades.unreadable")
            assert "is no file" in book.in_file.trouble
            path.rmdir()
            path.write_bytes(b"PAR1" + bytes(100))
            await heard(logs, "trades.no_text")
            async with asyncio.timeout(8):
                while "Parquet" not in book.in_file.trouble:
                    await asyncio.sleep(0.01)
            path.write_text(line(1))
            await desk.next()
            assert book.in_file.trouble == ""
