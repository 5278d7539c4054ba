"""An interrupted backtest goes on with the bars of its beginning, but not for ever."""

from pathlib import Path

import pytest

from daemon.backtest.resume_point import ResumePoint
from hyperdrift.slot_name import DAY_MS

NOW = 1_700_000_000_000
ASKED = [["BTC-5m"], ["never"], None]


def interrupted(folder: Path) -> ResumePoint:
    point = ResumePoint(folder, ASKED, NOW)
    for cell in ("a", "b", "c"):
        point.note(cell, kept=True)
    return point


def test_the_same_question_has_the_same_bars_until_it_is_finished(tmp_path: Path) -> None:
    assert not interrupted(tmp_path).goes_on
    again = ResumePoint(tmp_path, ASKED, NOW + DAY_MS)
    assert (again.goes_on, again.kept, again.until_ms) == (True, {"a", "b", "c"}, NOW)
    other = ResumePoint(tmp_path, [["BTC-5m"], ["never"], 30.0], NOW + DAY_MS)
    assert (other.goes_on, other.kept, other.until_ms) == (False, set(), NOW + DAY_MS)
    again.note("d", kept=True)
    again.forget()
    assert ResumePoint(tmp_path, ASKED, NOW + DAY_MS).until_ms == NOW + DAY_MS
    assert list(tmp_path.iterdir()) == []


def test_a_cell_that_has_to_be_run_again_is_not_counted(tmp_path: Path) -> None:
    point = interrupted(tmp_path)
    point.note("d", kept=False)
    point.note("b", kept=False)
    assert ResumePoint(tmp_path, ASKED, NOW).kept == {"a", "c"}


@pytest.mark.parametrize(("days", "kept"), [(7, 3), (7.1, 0)])
def test_after_a_week_of_newer_bars_those_are_wanted(
    tmp_path: Path, days: float, kept: int
) -> None:
    interrupted(tmp_path)
    later = NOW + round(days * DAY_MS)
    again = ResumePoint(tmp_path, ASKED, later)
    assert (len(again.kept), again.until_ms) == (kept, NOW if kept else later)


def test_bars_that_are_gone_and_a_damaged_file_do_no_harm(tmp_path: Path) -> None:
    interrupted(tmp_path)
    assert ResumePoint(tmp_path, ASKED, NOW - DAY_MS).until_ms == NOW - DAY_MS
    (path,) = tmp_path.iterdir()
    path.write_text('{"until_ms": "soon"')
    again = ResumePoint(tmp_path, ASKED, NOW)
    assert (again.goes_on, again.kept) == (False, set())
