import asyncio
import contextlib
import json
import math
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.bars import Bar, Funding, Hole, Provenance
from daemon.core.errors import StoreCorrupt
from daemon.store import journal_table
from daemon.store.async_store import ThreadedStore, check_beside
from daemon.store.bar_merge import RANK, PutResult, Stored
from daemon.store.database import StoreUnavailable
from daemon.store.feature_frame import Flow
from daemon.store.imported.sources import BARS, Scope
from daemon.store.journal_table import StoredPrediction
from daemon.store.migrations import MIGRATIONS, SCHEMA_OF_IMPORTS
from daemon.store.store import Store
from hyperdrift.errors import BadInput
from hyperdrift.slot_name import HOUR_MS, SlotName
from retrain import features
from tests.daemon.fake_venue import BTC, START, STEP, bar

ETH = SlotName("ETH", "5m")


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as opened:
        yield opened


copies = st.builds(
    lambda number, volume, close, n, provenance: (bar(number, volume, close, n), provenance),
    st.integers(0, 4),
    st.integers(0, 3).map(float),
    st.sampled_from([99.0, 100.0, 101.0]),
    st.integers(0, 2),
    st.sampled_from([p for p in Provenance if p is not Provenance.IMPORT]),
)
arrivals = st.lists(copies, min_size=1, max_size=12)


def kept(store: Store) -> list[tuple[Bar, Provenance]]:
    return [(s.bar, s.provenance) for s in store.held(BTC, START, START + 100 * STEP)]


def filled(sequence: list[tuple[Bar, Provenance]], path: Path | str = ":memory:") -> Store:
    store = Store(path)
    for one, provenance in sequence:
        store.put_bars(BTC, [one], provenance)
    return store


@settings(max_examples=60, deadline=None)
@given(arrivals.flatmap(lambda a: st.tuples(st.just(a), st.permutations(a))))
def test_the_order_of_arrival_does_not_matter(
    orders: tuple[list[tuple[Bar, Provenance]], list[tuple[Bar, Provenance]]],
) -> None:
    with filled(orders[0]) as one, filled(orders[1]) as other:
        assert kept(one) == kept(other)


@settings(max_examples=60, deadline=None)
@given(arrivals)
def test_a_second_arrival_of_the_same_changes_nothing(sequence) -> None:
    with filled(sequence) as store:
        before = kept(store)
        for one, provenance in sequence:
            result = store.put_bars(BTC, [one], provenance)
            assert (result.added, result.revised) == (0, 0)
        assert kept(store) == before


@settings(max_examples=60, deadline=None)
@given(arrivals)
def test_the_most_trusted_and_then_the_fullest_copy_stays(sequence) -> None:
    with filled(sequence) as store:
        for one, provenance in kept(store):
            rivals = [(RANK[p], b.volume) for b, p in sequence if b.t == one.t]
            assert (RANK[provenance], one.volume) == max(rivals)


@settings(max_examples=25, deadline=None)
@given(arrivals, st.integers(0, 12))
def test_what_was_stored_survives_a_reopen_at_any_point(tmp_path_factory, sequence, cut) -> None:
    path = tmp_path_factory.mktemp("store") / "bars.db"
    filled(sequence[:cut], path).close()
    with filled(sequence[cut:], path) as reopened, filled(sequence) as straight:
        assert kept(reopened) == kept(straight)


@settings(max_examples=40, deadline=None)
@given(st.lists(copies.map(lambda c: c[0]), min_size=1, max_size=12))
def test_one_call_with_many_bars_is_as_many_calls_with_one(bars: list[Bar]) -> None:
    with Store(":memory:") as at_once, filled([(b, Provenance.REST) for b in bars]) as singly:
        result = at_once.put_bars(BTC, bars, Provenance.REST)
        assert kept(at_once) == kept(singly)
        assert sum(result) == len(bars)


def test_each_arrival_is_counted_for_what_it_was(store: Store) -> None:
    put = store.put_bars
    assert put(BTC, [bar(0), bar(1)], Provenance.STREAM) == PutResult(added=2)
    assert put(BTC, [bar(0), bar(1, volume=2)], Provenance.REST) == PutResult(revised=1, same=1)
    assert put(BTC, [bar(1, volume=9)], Provenance.IMPORT) == PutResult(conflicts=1)
    assert put(BTC, [], Provenance.REST) == PutResult()
    assert [s.revisions for s in store.held(BTC, START, START + STEP)] == [0, 1]
    assert [s.provenance for s in store.held(BTC, START, START + STEP)] == [Provenance.REST] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0])
def test_one_impossible_bar_keeps_the_whole_batch_out(store: Store, value: float) -> None:
    with pytest.raises(BadInput, match=f"t={START + STEP} cannot be stored"):
        store.put_bars(BTC, [bar(0), Bar(START + STEP, value, 1, 1, 1, 1)], Provenance.REST)
    assert store.newest_t(BTC) is None


def test_slots_do_not_see_each_others_bars(store: Store) -> None:
    store.put_bars(BTC, [bar(0)], Provenance.REST)
    assert store.newest_t(ETH) is None
    assert store.newest_t(SlotName("BTC", "1h")) is None


def test_the_newest_bar_may_be_asked_for_by_trust(store: Store) -> None:
    for number, provenance in enumerate(reversed(Provenance)):
        store.put_bars(BTC, [bar(number)], provenance)
    newest = {p: (store.newest_t(BTC, p) or 0) - START for p in Provenance}
    assert newest == {p: k * STEP for k, p in enumerate(reversed(Provenance))}


def test_holes_are_listed_by_their_first_and_last_missing_bar(store: Store) -> None:
    store.put_bars(BTC, [bar(k) for k in (0, 1, 4, 6)], Provenance.REST)
    holes = [Hole(START + 2 * STEP, START + 3 * STEP), Hole(START + 5 * STEP, START + 5 * STEP)]
    assert store.missing(BTC) == holes
    assert store.missing(BTC, START + 4 * STEP) == holes[1:]
    store.note_gap(BTC, holes[0])
    store.note_gap(BTC, holes[0])
    assert store.gaps(BTC) == holes[:1]


def test_bars_are_read_oldest_first_and_by_range(store: Store) -> None:
    store.put_bars(BTC, [bar(k, volume=k) for k in range(9, -1, -1)], Provenance.REST)
    assert store.bars(BTC)["volume"].tolist() == list(range(10))
    assert store.bars(BTC, last=3)["volume"].tolist() == [7, 8, 9]
    assert store.bars(BTC, to_t=START + 5 * STEP, last=2)["volume"].tolist() == [4, 5]
    assert store.bars(BTC, from_t=START + 8 * STEP)["volume"].tolist() == [8, 9]
    assert store.bars(BTC)["t"].dtype == np.int64
    assert store.bars(ETH)["close"].shape == (0,)


def test_a_frame_carries_the_rate_in_force_at_each_close_and_the_flow(store: Store) -> None:
    hour = START - START % HOUR_MS + HOUR_MS
    bars = [Bar(hour + (k - 2) * STEP, 1, 1, 1, 1, 1) for k in range(4)]
    store.put_bars(BTC, bars, Provenance.REST)
    # Stamped 79 ms after the hour: the bar that closes on the hour does not know it yet.
    store.put_funding("BTC", [Funding(hour + 79, 2e-5), Funding(hour - HOUR_MS + 79, 1e-5)])
    store.put_flow(BTC, [Flow(bars[1].t, 0.5, -0.25, seen=1.0)])
    frame = store.frame(BTC)
    assert frame["funding"].tolist() == [1e-5, 1e-5, 2e-5, 2e-5]
    assert frame["s_top"].tolist() == [0, 0.5, 0, 0]
    assert frame["s_bot"].tolist() == [0, -0.25, 0, 0]
    assert store.frame(BTC, last=2)["funding"].tolist() == [2e-5, 2e-5]
    assert store.frame(BTC, last=1, to_t=bars[1].t)["s_top"].tolist() == [0.5]
    assert {len(column) for column in store.frame(ETH).values()} == {0}


def test_a_flow_of_which_too_little_was_seen_is_unknown(store: Store) -> None:
    store.put_bars(
        BTC, [bar(k, volume=v) for k, v in enumerate((100, 100, 0, 100))], Provenance.REST
    )
    seen = ((0, 94.9), (1, 95.0), (2, 0.0))
    store.put_flow(BTC, [Flow(START + k * STEP, 1.0, 2.0, volume) for k, volume in seen])
    np.testing.assert_array_equal(store.frame(BTC)["s_top"], [np.nan, 1, 1, 0])
    np.testing.assert_array_equal(store.frame(BTC)["s_bot"], [np.nan, 2, 2, 0])
    assert store.newest_flow_t(BTC) == START + 2 * STEP
    assert store.newest_flow_t(ETH) is None


def test_of_two_copies_of_a_flow_the_one_that_saw_more_stays(store: Store) -> None:
    store.put_bars(BTC, [bar(0)], Provenance.REST)
    for top, seen in ((0.1, 0.2), (0.5, 1.0), (0.1, 0.2)):
        store.put_flow(BTC, [Flow(START, top, 0.0, seen)])
    assert store.frame(BTC)["s_top"].tolist() == [0.5]


def test_a_frame_has_no_rate_before_the_first_settlement(store: Store) -> None:
    store.put_bars(BTC, [bar(k) for k in range(3)], Provenance.REST)
    assert np.isnan(store.frame(BTC)["funding"]).all()
    store.put_funding("BTC", [Funding(START + 2 * STEP - 1, 3e-5)])
    assert store.frame(BTC)["funding"].tolist()[1:] == [3e-5, 3e-5]
    assert np.isnan(store.frame(BTC)["funding"][0])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-HOUR_MS, 40 * STEP), max_size=15, unique=True),
    st.integers(1, 40),
)
def test_a_rate_stamped_after_a_close_is_never_in_that_bars_row(stamps, cut) -> None:
    rates = [Funding(START + offset, k * 1e-6) for k, offset in enumerate(sorted(stamps), start=1)]
    bars = [bar(k) for k in range(40)]
    with Store(":memory:") as whole, Store(":memory:") as past:
        whole.put_bars(BTC, bars, Provenance.REST)
        whole.put_funding("BTC", rates)
        found = whole.frame(BTC)["funding"]
        for b, rate in zip(bars, found, strict=True):
            known = [r.rate for r in rates if r.time <= b.t + STEP]
            np.testing.assert_array_equal(rate, known[-1] if known else math.nan)
        # What was not there yet at a close changes nothing of the rows up to it.
        past.put_bars(BTC, bars[:cut], Provenance.REST)
        past.put_funding("BTC", [r for r in rates if r.time <= bars[cut - 1].t + STEP])
        np.testing.assert_array_equal(past.frame(BTC)["funding"], found[:cut])
        last = whole.frame(BTC, to_t=bars[cut - 1].t, last=3)["funding"]
        np.testing.assert_array_equal(last, found[max(0, cut - 3) : cut])


def test_a_frame_is_what_the_features_take(store: Store) -> None:
    generator = np.random.default_rng(1)
    closes = 100 * np.exp(np.cumsum(generator.normal(0, 1e-3, 600)))
    bars = [Bar(START + k * STEP, c, c * 1.001, c * 0.999, c, 1.0) for k, c in enumerate(closes)]
    store.put_bars(BTC, bars, Provenance.REST)
    store.put_funding("BTC", [Funding(START - 9 * HOUR_MS, 1e-5)])
    rows = features.compute(store.frame(BTC, last=features.LIVE_BARS))
    assert rows.shape == (512, 17)
    assert np.isfinite(rows[-1]).all()


def test_funding_is_known_by_its_first_and_last_stamp(store: Store) -> None:
    assert store.newest_funding_time("BTC") is store.oldest_funding_time("BTC") is None
    store.put_funding("BTC", [Funding(7, 0.1), Funding(5, 0.2), Funding(7, 0.1)])
    assert (store.oldest_funding_time("BTC"), store.newest_funding_time("BTC")) == (5, 7)


def test_the_journal_gives_back_what_was_written_filtered_and_in_order(store: Store) -> None:
    body = {"t": 1, "p": [0.25, 0.5, 0.25], "why": "Größe"}
    numbers = [
        store.append_journal(slot, at, kind, body | {"k": k})
        for k, (slot, at, kind) in enumerate(
            [(BTC, 10, "BarScored"), (ETH, 20, "Ticked"), (None, 30, "Ticked"), (BTC, 25, "Ticked")]
        )
    ]
    assert numbers == [1, 2, 3, 4]

    def found(**filters) -> list[int]:
        return [e.body["k"] for e in store.journal(**filters)]

    assert found() == [0, 1, 2, 3]
    assert found(slot=BTC) == [0, 3]
    assert found(kinds={"Ticked"}) == [1, 2, 3]
    assert found(since_ms=25) == [2, 3]
    assert found(since_ms=99) == []
    assert found(after_seq=2, slot=BTC) == [3]
    entry = next(store.journal())
    assert (entry.slot, entry.at_ms, entry.kind) == (BTC, 10, "BarScored")
    assert entry.body == body | {"k": 0}
    assert list(store.journal())[2].slot is None


def test_the_journal_can_be_read_past_one_page_and_while_it_grows(store: Store) -> None:
    for k in range(1500):
        store.append_journal(BTC, k, "BarScored", {"k": k})
    seen = []
    for entry in store.journal():
        seen.append(entry.body["k"])
        if len(seen) == 10:
            store.append_journal(BTC, 1500, "BarScored", {"k": 1500})
    assert seen == list(range(1501))


def test_a_reader_sees_what_the_writer_committed_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    with Store(path) as writer, Store(path, read_only=True) as reader:
        writer.put_bars(BTC, [bar(0)], Provenance.REST)
        assert reader.newest_t(BTC) == START
        with pytest.raises(StoreUnavailable, match="readonly"):
            reader.put_bars(BTC, [bar(1)], Provenance.REST)


def test_a_reader_of_no_store_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="start the daemon or import bars first"):
        Store(tmp_path / "none.db", read_only=True)


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="check disk space and rights"):
        Store(tmp_path / "no" / "bars.db")


def test_others_may_not_read_it_whoever_made_it_and_with_whatever_rights(tmp_path: Path) -> None:
    path, was = tmp_path / "bars.db", os.umask(0o022)
    try:
        with Store(path) as store:
            files = sorted(tmp_path.iterdir())
            store.database.backup(tmp_path / "copy.db")
            assert [p.stat().st_mode & 0o777 for p in (*files, tmp_path / "copy.db")] == [0o640] * 4
    finally:
        os.umask(was)
    path.chmod(0o644)
    Store(path).close()
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_stores_all_of_a_call_or_nothing(store: Store) -> None:
    store.put_bars(BTC, [bar(0)], Provenance.REST)
    store._db.read("PRAGMA max_page_count = 20")
    with pytest.raises(StoreUnavailable, match="full"):
        store.put_bars(BTC, [bar(k) for k in range(5000)], Provenance.REST)
    assert store.bars(BTC)["t"].tolist() == [START]
    store._db.read("PRAGMA max_page_count = 100000")
    assert store.put_bars(BTC, [bar(k) for k in range(5000)], Provenance.REST).added == 4999


@pytest.mark.parametrize("damage", ["text", "root", "leaf", "cut"])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun_with_what_can_be_read(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "bars.db"
    with Store(path) as store:
        store.put_bars(BTC, [bar(k) for k in range(2000)], Provenance.REST)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "text": b"not a database at all" * 100,
            "root": whole[:4096] + b"\xa5" * 8192 + whole[12288:],
            "leaf": whole[:-8192] + b"\xa5" * 4096 + whole[-4096:],
            "cut": whole[: len(whole) // 2],
        }[damage]
    )
    broken = path.read_bytes()
    with pytest.raises(StoreCorrupt):
        Store(path)
    with Store.open_or_rebuild(path) as store:
        held = store.held(BTC, 0, 2**62)
        assert (1900 < len(held) < 2000) == (damage == "leaf")
        assert all(copy.bar == bar((copy.bar.t - START) // STEP) for copy in held)
        assert {copy.provenance for copy in held} <= {Provenance.STREAM}  # to be confirmed
        store.put_bars(BTC, [bar(0)], Provenance.REST)
    assert (tmp_path / "bars.db.corrupt-1").read_bytes() == broken
    path.write_bytes(b"again" * 100)
    Store.open_or_rebuild(path).close()
    assert (tmp_path / "bars.db.corrupt-2").read_bytes() == b"again" * 100


def test_a_sound_file_is_opened_as_it_is(tmp_path: Path) -> None:
    with filled([(bar(0), Provenance.REST)], tmp_path / "bars.db"):
        pass
    with Store.open_or_rebuild(tmp_path / "bars.db") as store:
        assert store.newest_t(BTC) == START
    assert [p.name for p in tmp_path.iterdir()] == ["bars.db"]


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(BadInput, match="newer hyperdrift"):
        Store.open_or_rebuild(path)
    assert [p.name for p in tmp_path.iterdir()] == ["bars.db"]


def test_a_backup_is_a_whole_store(tmp_path: Path) -> None:
    with filled([(bar(k), Provenance.REST) for k in range(5)], tmp_path / "bars.db") as store:
        store.backup(tmp_path / "copy.db")
        with Store(tmp_path / "copy.db", read_only=True) as copy:
            assert kept(copy) == kept(store)


def test_threads_may_share_a_store(store: Store) -> None:

    def write(first: int) -> None:
        for k in range(first, first + 50):
            store.put_bars(BTC, [bar(k)], Provenance.REST)
            store.bars(BTC, last=5)

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.bars(BTC)["t"]) == 150


async def test_calls_from_the_event_loop_run_on_one_other_thread() -> None:
    store = ThreadedStore(Store(":memory:"))
    result = await store.call(Store.put_bars, BTC, [bar(0)], Provenance.REST)
    assert result.added == 1
    threads = {await store.call(lambda _: threading.current_thread().name) for _ in range(3)}
    assert len(threads) == 1
    assert threading.current_thread().name not in threads
    store.close()


async def test_an_entry_of_the_journal_goes_before_calls_that_wait() -> None:
    store, go, done = ThreadedStore(Store(":memory:")), threading.Event(), list[str]()

    async def ask(name: str, method: Any, *args: Any) -> None:
        await store.call(method, *args)
        done.append(name)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(ask("runs", lambda _: go.wait(10)))
        await asyncio.sleep(0)
        tasks.create_task(ask("waits", Store.put_bars, BTC, [bar(0)], Provenance.REST))
        cancelled = tasks.create_task(
            ask("cancelled", Store.put_bars, BTC, [bar(1)], Provenance.REST)
        )
        for number in range(2):
            tasks.create_task(ask(f"entry {number}", Store.append_journal, BTC, number, "kind", {}))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        go.set()
    assert done == ["runs", "entry 0", "entry 1", "waits"]
    assert [entry.at_ms for entry in store.store.journal(BTC)] == [0, 1]
    assert store.store.bars(BTC)["t"].tolist() == [bar(0).t]
    store.close()


FIRST_SCHEMA = """
    CREATE TABLE bars (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL,
        open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL,
        volume REAL NOT NULL, n INTEGER NOT NULL,
        provenance TEXT NOT NULL, revisions INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (coin, interval, t)) STRICT, WITHOUT ROWID;
    CREATE TABLE funding (
        coin TEXT NOT NULL, time INTEGER NOT NULL, rate REAL NOT NULL,
        PRIMARY KEY (coin, time)) STRICT, WITHOUT ROWID;
    CREATE TABLE flow (
        coin TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL,
        s_top REAL NOT NULL, s_bot REAL NOT NULL,
        PRIMARY KEY (coin, interval, t)) STRICT, WITHOUT ROWID;
    CREATE TABLE gaps (
        coin TEXT NOT NULL, interval TEXT NOT NULL,
        from_t INTEGER NOT NULL, to_t INTEGER NOT NULL,
        PRIMARY KEY (coin, interval, from_t)) STRICT, WITHOUT ROWID;
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY, slot TEXT, at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL, body TEXT NOT NULL) STRICT;
    CREATE INDEX journal_by_time ON journal (at_ms);
    PRAGMA user_version = 1;
"""


def first_version(path: Path) -> None:
    """Write a file as the first version did."""
    db = sqlite3.connect(path)
    db.executescript("PRAGMA journal_mode = WAL;" + FIRST_SCHEMA)
    db.execute(
        "INSERT INTO bars VALUES ('BTC', '5m', ?, 100, 100, 100, 100, 1, 1, 'rest', 2)", (START,)
    )
    db.execute("INSERT INTO flow VALUES ('BTC', '5m', ?, 0.5, 0)", (START,))
    body = json.dumps({"t": START, "model_id": "m", "p": [0.25, 0.5, 0.25]})
    db.execute("INSERT INTO journal VALUES (7, 'BTC-5m', ?, 'BarScored', ?)", (START + STEP, body))
    db.commit()
    db.close()


def test_a_file_of_the_first_version_is_brought_to_the_present_one_and_a_copy_kept(
    tmp_path,
) -> None:
    path = tmp_path / "bars.db"
    first_version(path)
    with Store(path) as store:
        assert store.held(BTC, START, START) == [Stored(bar(0), Provenance.REST, 2)]
        assert [e.seq for e in store.journal()] == [7]
        assert list(store.predictions(BTC)) == [StoredPrediction(START, "m", 0.25, 0.5, 0.25)]
        store.put_flow(BTC, [Flow(START, 0.75, 0.0, seen=1.0)])
        assert store.frame(BTC)["s_top"].tolist() == [0.75]
    with sqlite3.connect(tmp_path / "bars.db.v1") as old:
        assert old.execute("SELECT s_top FROM flow").fetchall() == [(0.5,)]
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
    old.close()
    Store(path).close()  # a second start has nothing to migrate
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bars.db", "bars.db.v1"]


def test_imports_of_an_old_file_become_one_source_that_can_be_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    first_version(path)
    with contextlib.closing(sqlite3.connect(path)) as db:
        row = "INSERT INTO bars VALUES ('BTC', '5m', ?, 100, 100, 100, 100, 1, 1, 'import', 3)"
        db.executemany(row, [(START + k * STEP,) for k in (1, 2)])
        db.commit()
    with Store(path) as store:
        (source,) = store.imports.sources(BTC)
        assert (source.name, source.rows, source.in_force) == ("before-sources", 2, 2)
        store.imports.forget(Scope.of(BTC, BARS), "before-sources")
        assert store.held(BTC, 0, 2**62) == [Stored(bar(0), Provenance.REST, 2)]


def test_a_file_of_an_older_version_can_be_read_before_it_is_brought_up(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    db = sqlite3.connect(path)
    for number, script in enumerate(MIGRATIONS[: SCHEMA_OF_IMPORTS - 1], start=1):
        db.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
    row = "INSERT INTO bars VALUES ('BTC', '5m', ?, 100, 100, 100, 100, 1, 1, 'import', 3)"
    db.execute(row, (START,))
    db.commit()
    db.close()
    with Store(path, read_only=True) as store:
        assert store.imports.sources(BTC) == []
        assert store.columns(BTC).source.tolist() == [0]
        assert len(store.frame(BTC)["t"]) == 1


def test_a_migration_that_cannot_keep_a_copy_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    first_version(path)
    (tmp_path / "bars.db.v1.part").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot write beside"):
        Store(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()


def test_predictions_are_what_the_journal_says_of_scored_bars(store: Store) -> None:
    for k, p in enumerate(([0.2, 0.3, 0.5], None, [0.1, 0.8, 0.1])):
        body = {"t": START + k * STEP, "model_id": "m", "p": p}
        store.append_journal(BTC, START + (k + 1) * STEP, "BarScored", body)
    store.append_journal(ETH, START, "BarScored", {"t": START, "model_id": "e", "p": [1, 0, 0]})
    assert [p.p_up for p in store.predictions(BTC)] == [0.5, 0.1]
    assert [p.t for p in store.predictions(BTC, from_t=START + 1)] == [START + 2 * STEP]


async def test_a_large_file_is_checked_beside_the_daemon_and_mended_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bars.db"
    with Store(path) as store:
        store.put_bars(BTC, [bar(k) for k in range(2000)], Provenance.REST)
    monkeypatch.setattr("daemon.store.database._CHECKED_AT_ONCE_BYTES", 1000)
    with Store.open_or_rebuild(path) as store:
        assert not store.database.is_checked
        await check_beside(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8192] + b"\xa5" * 4096 + whole[-4096:])
    # A start reads nothing of the damaged page.
    with Store.open_or_rebuild(path), pytest.raises(StoreCorrupt):
        await check_beside(path)
    with Store.open_or_rebuild(path) as store:
        assert 1900 < len(store.held(BTC, 0, 2**62)) < 2000
    with Store.open_or_rebuild(path) as store:
        assert not store.database.is_checked  # no longer in doubt


def test_a_slots_journal_is_read_without_a_scan(tmp_path: Path) -> None:
    with Store(tmp_path / "bars.db") as store:
        for at_ms in range(6):
            slot, kind = (BTC, ETH)[at_ms % 2], ("BarScored", "Ticked", "BotSeen")[at_ms // 2]
            store.append_journal(slot, at_ms, kind, {"n": at_ms})
        asked: list[str] = []
        store.database._db.set_trace_callback(asked.append)
        assert [e.at_ms for e in store.journal(BTC)] == [0, 2, 4]
        assert [e.at_ms for e in store.journal(BTC, since_ms=1)] == [2, 4]
        assert [e.at_ms for e in store.journal(BTC, after_seq=3)] == [4]
        assert [e.at_ms for e in store.journal(BTC, kinds=["BarScored", "BotSeen"])] == [0, 4]
        found = journal_table.newest(store.database, ETH, "BotSeen")
        assert found is not None
        assert found.at_ms == 5
        store.database._db.set_trace_callback(None)
        plans = [row[3] for q in asked for row in store.database.read(f"EXPLAIN QUERY PLAN {q}")]
        assert not [plan for plan in plans if plan == "SCAN journal"]


@pytest.mark.parametrize("lost", [(), (3,), (3, 4, 9)])
def test_holes_are_found_between_bars(lost: tuple[int, ...]) -> None:
    with Store(":memory:") as store:
        assert store.missing(BTC) == []
        kept = [bar(k) for k in range(12) if k not in lost]
        store.put_bars(BTC, kept, Provenance.REST)
        found = [t for hole in store.missing(BTC) for t in range(hole.from_t, hole.to_t + 1, STEP)]
        assert found == [bar(k).t for k in lost]
        assert (store.count(BTC), store.count(BTC, bar(2).t)) == (12 - len(lost), 2)
        assert store.oldest_t(BTC, bar(3).t) == next(b.t for b in kept if b.t >= bar(3).t)
