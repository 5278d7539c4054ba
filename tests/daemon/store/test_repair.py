"""Of a damaged database all is saved but what lay on the damaged pages."""

import contextlib
import sqlite3
from pathlib import Path

from daemon.core.bars import Bar, Funding, Hole, Provenance
from daemon.store.bar_columns import BarColumns
from daemon.store.imported.sources import BARS as BARS_KIND
from daemon.store.imported.sources import Scope
from daemon.store.repair import recover_rows
from daemon.store.store import Store
from hyperdrift.slot_name import SlotName

SLOT, STEP, START = SlotName("BTC", "5m"), 300_000, 1_750_032_000_000
BARS, ENTRIES, PAGE = 12_000, 3_000, 4096


NEWEST = 100
"""So many of the newest bars the venue confirmed."""


def bar(number: int) -> Bar:
    close = 100.0 + number % 7
    return Bar(START + number * STEP, close, close + 1, close - 1, close, 5.0, 3)


def filled(path: Path) -> None:
    with Store(path) as store:
        bars = [bar(k) for k in range(BARS)]
        store.imports.put_bars(SLOT, BarColumns.of(bars), "bars.csv", 1)
        store.put_bars(SLOT, bars[-NEWEST:], Provenance.REST)
        store.put_funding("BTC", [Funding(START + k * 3_600_000, 1e-5) for k in range(1000)])
        store.note_gap(SLOT, Hole(1, 2))
        for number in range(ENTRIES):
            store.append_journal(SLOT, START + number, "decision", {"n": number, "text": "x" * 99})


def damage(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xa5" * PAGE)


def test_a_damaged_page_costs_what_lay_on_it_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    filled(path)
    pages = path.stat().st_size // PAGE
    for page in range(3, pages, max(1, pages // 8)):
        damaged, made = tmp_path / f"damaged-{page}", tmp_path / f"made-{page}"
        damaged.write_bytes(path.read_bytes())
        damage(damaged, page)
        with Store(made) as store:
            saved = recover_rows(damaged, store.database)
            held = store.held(SLOT, 0, 2**62)
            entries = [entry.body["n"] for entry in store.journal(SLOT)]
        assert len(held) == saved["bars"] > BARS - 200 or len(entries) == ENTRIES, page
        assert len(held) + len(entries) > (BARS + ENTRIES) * 0.6, page
        assert [copy.bar for copy in held] == [bar((c.bar.t - START) // STEP) for c in held]
        assert entries == sorted(set(entries))


def test_every_row_that_the_damaged_file_still_gives_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    filled(path)
    damage(path, path.stat().st_size // PAGE - 1)  # a leaf of the journal
    with Store(tmp_path / "made") as store:
        recover_rows(path, store.database)
        saved = {seq for (seq,) in store.database.read("SELECT seq FROM journal")}
    readable = set()
    with contextlib.closing(sqlite3.connect(path)) as db:
        for seq in range(1, ENTRIES + 1):
            with contextlib.suppress(sqlite3.DatabaseError):
                if db.execute("SELECT body FROM journal WHERE seq = ?", (seq,)).fetchone():
                    readable.add(seq)
    assert ENTRIES - 60 < len(readable) < ENTRIES
    assert saved == readable


def test_a_text_that_is_none_costs_its_own_row_only(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    filled(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE journal SET body = '{\"n\": 1, ?' WHERE seq = 5")
        db.execute("UPDATE journal SET body = CAST(X'7B22FF' AS TEXT) WHERE seq = 7")
    db.close()
    with Store(tmp_path / "made") as store:
        assert recover_rows(path, store.database)["bars"] == BARS
        entries = [entry.seq for entry in store.journal(SLOT)]
    assert entries == [seq for seq in range(1, ENTRIES + 1) if seq not in {5, 7}]


def test_what_the_venue_still_serves_is_to_be_confirmed_and_older_bars_stay_as_they_were(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bars.db"
    filled(path)
    with Store(tmp_path / "made") as store:
        saved = recover_rows(path, store.database)
        first, second = store.held(SLOT, 0, 2**62), store.imports.sources(SLOT)
        assert store.gaps(SLOT) == [Hole(1, 2)]
        assert len(store.funding("BTC", 0, 2**62)) == 1000
        assert [(s.rows, s.in_force, s.is_checked) for s in second] == [(BARS, BARS, False)]
        store.imports.forget(Scope.of(SLOT, BARS_KIND), "bars.csv")
        pushed = store.held(SLOT, 0, 2**62)
    assert saved == {
        "sources": 1,
        "bars": BARS,
        "outranked_bars": NEWEST,
        "funding": 1000,
        "gaps": 1,
        "journal": ENTRIES,
    }
    assert {copy.provenance for copy in first} == {Provenance.IMPORT}
    assert [copy.provenance for copy in pushed] == [Provenance.STREAM] * NEWEST


def test_an_import_whose_entry_is_lost_can_still_be_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    filled(path)
    with Store(path) as store, store.database.writing() as db:
        db.execute("DELETE FROM sources")
    with Store(tmp_path / "made") as store:
        recover_rows(path, store.database)
        (salvaged,) = store.imports.sources(SLOT)
        assert store.imports.forget(Scope.of(SLOT, BARS_KIND), salvaged.name).rows == BARS


def test_an_entry_of_the_journal_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    filled(path)
    with Store(path) as store, store.database.writing() as db:
        db.execute('UPDATE journal SET body = \'{"n": 7, "text": \x01\' WHERE seq = 8')
    with Store(tmp_path / "made") as store:
        recover_rows(path, store.database)
        assert [entry.body["n"] for entry in store.journal(SLOT)] == [*range(7), *range(8, ENTRIES)]


def test_of_a_file_that_is_no_database_nothing_is_saved(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no database at all" * 1000)
    with Store(tmp_path / "made") as store:
        assert recover_rows(tmp_path / "text", store.database) == {}


def test_a_bar_of_a_time_an_interval_or_a_kind_that_there_is_not_costs_no_other(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bars.db"
    with Store(path) as store:
        store.put_bars(SLOT, [bar(k) for k in range(10)], Provenance.REST)
        store.put_funding("BTC", [Funding(START, 1e-5)])
    copied = "INSERT INTO bars SELECT coin, {}, {}, open, high, low, close, volume, n, {}, 0, 0"
    later, far = f"t + {20 * STEP}", "t + 9000000000000000"
    kind, interval = "provenance", "interval"
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for changed in ((interval, far, kind), ("'5?'", "t", kind), (interval, later, "'re?t'")):
            db.execute(f"{copied.format(*changed)} FROM bars WHERE t = {START}")
        db.execute(f"INSERT INTO funding VALUES ('BTC', {START} + 9000000000000000, 1e-5)")
    with Store(tmp_path / "made") as store:
        recover_rows(path, store.database)
        held = store.held(SLOT, 0, 2**62)
        assert [copy.bar for copy in held] == [bar(k) for k in range(10)]
        assert {copy.provenance for copy in held} == {Provenance.STREAM}
        assert store.newest_funding_time("BTC") == START
        assert store.database.read("SELECT DISTINCT interval FROM bars") == [("5m",)]
