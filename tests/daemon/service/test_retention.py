import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.core.bars import Provenance
from daemon.core.clock import VenueClock
from daemon.runtime.recovery import JOURNAL_DAYS
from daemon.service import retention
from daemon.service.retention import Retention
from daemon.store import journal_table
from daemon.store.async_store import ThreadedStore
from daemon.store.data_folder import STORE_NAME, open_store
from daemon.store.folder_lock import folder_lock
from daemon.store.journal_kinds import COMMAND_ANSWERED, ENTRIES_PRUNED, POINTER_MOVED, SCORED
from daemon.store.store import Store
from hyperdrift.slot_name import DAY_MS, HOUR_MS, SlotName
from tests.daemon.brokers import until
from tests.daemon.fake_venue import bar
from tests.fakes import FakeClock

BTC, SLOW = SlotName("BTC", "5m"), SlotName("ETH", "12h")
NOW = FakeClock().ms
DAY_S = DAY_MS / 1000


@dataclass
class House:
    folder: Path
    store: ThreadedStore
    clock: FakeClock
    venue: VenueClock
    keeping: Retention

    async def journal(self, **which: Any) -> list[Any]:
        return await self.store.call(lambda s: list(s.journal(**which)))

    async def write(self, slot: SlotName | None, days_ago: float, kind: str, **body: Any) -> None:
        at_ms = NOW - round(days_ago * DAY_MS)
        await self.store.call(Store.append_journal, slot, at_ms, kind, body)

    def aged(self, name: str, days: float) -> Path:
        """Make a file that was last written so long ago."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        then = NOW / 1000 - days * DAY_S
        os.utime(path, (then, then))
        os.utime(path.parent, (then, then))
        return path


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    venue = VenueClock(clock)
    store = ThreadedStore(open_store(tmp_path))
    keeping = Retention(
        *(store, tmp_path / STORE_NAME, tmp_path / "backtest", [BTC]), clock=clock, venue=venue
    )
    yield House(tmp_path, store, clock, venue, keeping)
    store.close()


async def test_old_scores_go_and_what_a_start_reads_stays(house: House) -> None:
    for days in (200, 91, 89, JOURNAL_DAYS, 0):
        await house.write(BTC, days, SCORED, t=1)
    gone = await house.keeping.clean()
    assert gone.scores == {"BTC-5m": 2}
    left = await house.journal(kinds=[SCORED])
    assert [round((NOW - entry.at_ms) / DAY_MS) for entry in left] == [89, JOURNAL_DAYS, 0]
    assert retention.SCORES_DAYS > JOURNAL_DAYS


async def test_scores_at_slow_intervals_are_kept_by_number(house: House) -> None:
    for days in (2600, 2400, 0):
        await house.write(SLOW, days, SCORED, t=1)
    assert (await house.keeping.clean()).scores == {"ETH-12h": 1}


async def test_a_slot_that_stood_still_keeps_what_it_last_saw(house: House) -> None:
    for days in (600, 520, 500):
        await house.write(BTC, days, SCORED, t=1)
    assert (await house.keeping.clean()).scores == {"BTC-5m": 1}


async def test_decisions_stay_for_years_and_moves_of_a_pointer_for_ever(house: House) -> None:
    for days in (1200, 1000):
        for kind in ("Deploy", "rolled_back", POINTER_MOVED):
            await house.write(BTC, days, kind)
    assert (await house.keeping.clean()).entries == 2
    left = [entry.kind for entry in await house.journal(slot=BTC)]
    assert sorted(left) == sorted([POINTER_MOVED, POINTER_MOVED, "Deploy", "rolled_back"])


async def test_a_bot_that_starts_again_and_again_does_not_fill_the_disk(house: House) -> None:
    for days in (91, 89):
        for kind in ("BotSeen", "BotSpoke", COMMAND_ANSWERED, "CommandReceived"):
            await house.write(BTC, days, kind)
    assert (await house.keeping.clean()).entries == 3
    plan = await house.store.call(
        lambda s: s.database.read(
            "EXPLAIN QUERY PLAN SELECT seq FROM journal "
            f"WHERE {journal_table._CHATTER} AND at_ms < 1"
        )
    )
    assert "chatter" in str(plan)  # else every day begins with a walk through all decisions


async def test_bars_of_record_are_kept_whatever_their_age(house: House) -> None:
    await house.store.call(Store.put_bars, BTC, [bar(0)], Provenance.REST)
    house.clock.ms += 20 * 365 * DAY_MS
    await house.keeping.clean()
    assert len(await house.store.call(Store.held, BTC, 0, 2**62)) == 1


async def test_what_went_is_journalled_and_a_round_that_found_nothing_says_nothing(
    house: House,
) -> None:
    await house.write(BTC, 200, SCORED)
    await house.write(BTC, 0, SCORED)
    await house.keeping.clean()
    await house.keeping.clean()
    (entry,) = await house.journal(kinds=[ENTRIES_PRUNED])
    assert entry.slot is None
    assert entry.body["scores"] == {"BTC-5m": 1}


async def test_it_works_in_small_steps_in_the_middle_of_a_bar(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_ROWS", 3)
    for k in range(10):
        await house.write(BTC, 200 + k, SCORED)
    await house.write(BTC, 0, SCORED)
    moments: list[int] = []
    call = house.store.call

    async def noted(method: Any, *args: Any, **kwargs: Any) -> Any:
        before = len(await call(lambda s: list(s.journal(kinds=[SCORED]))))
        done = await call(method, *args, **kwargs)
        left = len(await call(lambda s: list(s.journal(kinds=[SCORED]))))
        assert before - left <= 3
        if left < before:
            moments.append(house.venue.now_ms() % BTC.interval_ms)
        return done

    monkeypatch.setattr(house.store, "call", noted)
    for into_bar_s in (1, 290):
        house.clock.ms = NOW - NOW % BTC.interval_ms + into_bar_s * 1000
        await house.keeping.clean()
    assert len(moments) == 4
    assert all(75_000 <= moment <= 226_000 for moment in moments)


async def test_the_file_gives_back_what_it_does_not_need(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_SPARE_PAGES", 10)
    await house.store.call(_fill, 3000)
    path = house.folder / STORE_NAME
    await house.store.call(lambda s: s.database.read("PRAGMA wal_checkpoint(TRUNCATE)"))
    before = path.stat().st_size
    gone = await house.keeping.clean()
    await house.store.call(lambda s: s.database.read("PRAGMA wal_checkpoint(TRUNCATE)"))
    assert gone.pages > 100
    assert before - path.stat().st_size == 4096 * gone.pages
    assert await house.store.call(lambda s: s.database.spare_pages()) == 10
    assert await house.store.call(Store.fault) is None


def _fill(store: Store, rows: int) -> None:
    with store.database.writing() as db:
        old = [("BTC-5m", NOW - 200 * DAY_MS, SCORED, "{}" + " " * 500)] * rows
        new = [("BTC-5m", NOW, SCORED, "{}")]
        db.executemany("INSERT INTO journal (slot, at_ms, kind, body) VALUES (?, ?, ?, ?)", old)
        db.executemany("INSERT INTO journal (slot, at_ms, kind, body) VALUES (?, ?, ?, ?)", new)


def test_a_file_that_could_not_shrink_can_after_its_next_start(tmp_path: Path) -> None:
    path = tmp_path / STORE_NAME
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL; VACUUM;")
        with Store(":memory:") as model:
            for (sql,) in model.database.read("SELECT sql FROM sqlite_schema WHERE sql NOT NULL"):
                db.execute(sql)
            version = model.database.read("PRAGMA user_version")[0][0]
        db.executescript(f"PRAGMA user_version = {version}")
    with Store(path) as store:
        _fill(store, 50)
        assert store.database.read("PRAGMA auto_vacuum") == [(2,)]
        assert store.database.read("PRAGMA journal_mode") == [("wal",)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [STORE_NAME]


async def test_old_copies_of_the_database_go_and_a_damaged_one_stays(house: House) -> None:
    house.aged(f"{STORE_NAME}.v1", days=91)
    house.aged(f"{STORE_NAME}.v2", days=89)
    house.aged(f"{STORE_NAME}.corrupt-1", days=900)
    assert (await house.keeping.clean()).copies == (f"{STORE_NAME}.v1",)
    left = {path.name for path in house.folder.iterdir()}
    assert {f"{STORE_NAME}.v2", f"{STORE_NAME}.corrupt-1", STORE_NAME} <= left


async def test_candidates_that_no_backtest_asks_for_go_unless_one_runs(house: House) -> None:
    old = house.aged("backtest/1-a/verdict.json", days=31)
    left_by_a_crash = house.aged("backtest/2-b/bars.npz", days=31)
    fresh = house.aged("backtest/3-c/verdict.json", days=29)
    report = house.aged("backtest/BTC-5m.html", days=400)
    with folder_lock(house.folder / "backtest"):
        assert (await house.keeping.clean()).candidates == 0
    assert (await house.keeping.clean()).candidates == 2
    assert not old.parent.exists()
    assert not left_by_a_crash.parent.exists()
    assert fresh.exists()
    assert report.exists()


async def test_a_clock_that_may_be_wrong_removes_nothing(house: House) -> None:
    await house.write(BTC, 200, SCORED)
    await house.write(BTC, 1200, "Deploy")
    await house.write(BTC, 0, SCORED)
    asked = house.clock.monotonic()
    house.venue.learn(NOW, asked, asked)
    house.venue.learn(NOW + 4000 * DAY_MS, asked, asked)
    assert not house.venue.is_trusted
    assert not (await house.keeping.clean()).anything()


async def test_a_day_that_fails_is_not_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    async def failing() -> None:
        tries.append(house.venue.now_ms())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(house.keeping, "clean", failing)
    task = asyncio.create_task(house.keeping.run())
    await until(lambda: len(tries) >= 3)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    first, second = tries[0] - NOW, tries[1] - tries[0]
    assert abs(first - HOUR_MS) < 60_000  # also a host that is restarted every night is cleaned
    assert abs(second - DAY_MS) < 60_000
