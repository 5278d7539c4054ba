"""An interrupted backtest goes on with the bars of its beginning, but not for ever."""

from pathlib import Path

import pytest

from daemon.backtest.resume_point import ResumePoint
from hyperdrift.slot_name import DAY_MS

NOW = 1_700_000_000_000
ASKED = [["BTC-5m"], ["never"], None]


def test_the_same_question_has_the_same_bars_until_it_is_finished(tmp_path: Path) -> None:
    ResumePoint(tmp_path, ASKED, NOW).note(3)
    again = ResumePoint(tmp_path, ASKED, NOW + DAY_MS)
    assert (again.before.done, again.until_ms) == (3, NOW)
    other = ResumePoint(tmp_path, [["BTC-5m"], ["never"], 30.0], NOW + DAY_MS)
    assert (other.before.done, other.until_ms) == (0, NOW + DAY_MS)
    again.note(4)
    again.forget()
    assert ResumePoint(tmp_path, ASKED, NOW + DAY_MS).until_ms == NOW + DAY_MS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("days", "done"), [(7, 3), (7.1, 0)])
def test_after_a_week_of_newer_bars_those_are_wanted(
    tmp_path: Path, days: float, done: int
) -> None:
    ResumePoint(tmp_path, ASKED, NOW).note(3)
    later = NOW + round(days * DAY_MS)
    again = ResumePoint(tmp_path, ASKED, later)
    assert (again.before.done, again.until_ms) == (done, NOW if done else later)


def test_bars_that_are_gone_and_a_damaged_file_do_no_harm(tmp_path: Path) -> None:
    ResumePoint(tmp_path, ASKED, NOW).note(3)
    assert ResumePoint(tmp_path, ASKED, NOW - DAY_MS).until_ms == NOW - DAY_MS
    (path,) = tmp_path.iterdir()
    path.write_text('{"until_ms": "soon"')
    assert ResumePoint(tmp_path, ASKED, NOW).before.done == 0
