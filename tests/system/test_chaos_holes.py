"""How `make chaos` tells a score that lay on a damaged page from one that was lost."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.chaos.journal_gaps import copy_store, holes, is_whole, unexplained

Case = tuple[list[tuple[float, Path]], list[tuple[float, Path]], list[int]]
STEP = 10
PAGE = 4096


def store(folder: Path, scored: Sequence[int], name: str = "store") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, kind TEXT, body TEXT)")
        rows = [("BarScored", f'{{"t": {t}, "why": "{"-" * 400}"}}') for t in scored]
        db.executemany("INSERT INTO journal (kind, body) VALUES (?, ?)", rows)
    db.close()
    return path


def damage(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xff" * PAGE)


def lost_with(page: int, path: Path) -> list[int]:
    """The bars that a page of a store of ours holds."""
    with sqlite3.connect(path) as db:
        found = []
        damage(path, page)
        for seq in range(1, 201):
            try:
                db.execute("SELECT body FROM journal WHERE seq = ?", (seq,)).fetchone()
            except sqlite3.DatabaseError:
                found.append((seq - 1) * STEP)
    db.close()
    return found


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A copy from before, a damaged file, and the bars on the damaged page."""
    path = store(tmp_path / "data", range(0, 2000, STEP))
    copy_store(path, tmp_path / "before")
    on_page = lost_with(9, path)
    assert 3 < len(on_page) < 30
    return [(1.0, tmp_path / "before" / "store")], [(2.0, path)], on_page


def test_bars_between_the_first_and_the_last_are_missed() -> None:
    assert holes([10, 20, 50, 60], STEP) == [30, 40]
    assert holes([], STEP) == holes([10, 20], STEP) == []


def test_what_lay_on_the_damaged_page_is_explained(case: Case) -> None:
    undamaged, asides, on_page = case
    assert unexplained(on_page, undamaged, asides) == []


def test_a_bar_that_the_damaged_file_still_gives_should_have_been_saved(case: Case) -> None:
    undamaged, asides, on_page = case
    (text,) = unexplained([*on_page, 0], undamaged, asides)
    assert text == "bar 0 can be read from store and was not saved"


def test_a_bar_that_was_never_scored_was_passed_over(case: Case) -> None:
    undamaged, asides, on_page = case
    (text,) = unexplained([*on_page, 2000], undamaged, asides)
    assert "2000 was passed over" in text


def test_a_bar_that_is_gone_without_a_damaged_file_is_lost(case: Case) -> None:
    undamaged, asides, on_page = case
    assert "no database was set aside since" in unexplained(on_page[:1], undamaged, [])[0]
    before_it = [(0.5, path) for _, path in asides]
    assert "no database was set aside since" in unexplained(on_page[:1], undamaged, before_it)[0]


def test_a_database_is_checked_without_a_trace(tmp_path: Path) -> None:
    path = store(tmp_path / "data", range(0, 2000, STEP))
    assert is_whole(path)
    damage(path, 9)
    kept = path.read_bytes()
    assert not is_whole(path)
    assert path.read_bytes() == kept
    assert [p.name for p in path.parent.iterdir()] == ["store"]
