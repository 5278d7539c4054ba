"""The page of a grid has a row for each cell, says how many there are, and runs its own script."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daemon.backtest import grid_page, report
from daemon.backtest.policy_run import PolicyRecord
from daemon.backtest.results import BacktestResult, CellFailure, SlotBacktest, Tracks
from daemon.backtest.summaries import GridResult, Summaries
from hyperdrift.slot_name import SlotName
from tests.daemon.backtest.test_summaries import add, result

HOSTILE = "</td><script>alert(1)</script>&\x1b[2J\n"


def done() -> GridResult:
    failed = BacktestResult("never", failure=CellFailure(f"no bars of {HOSTILE} are stored"))
    slots = tuple(
        SlotBacktest(SlotName(coin, "5m"), 12, (one,), 9.0)
        for coin, one in (("BTC", result("never", np.full(500, 1e-4))), (HOSTILE, failed))
    )
    summaries = Summaries()
    add(summaries, "BTC-5m", {"never": np.full(500, 1e-4)})
    return GridResult(slots, tuple(summaries.rows()))


def test_a_hostile_name_is_text_and_the_policy_names_the_only_script(tmp_path: Path) -> None:
    path = tmp_path / "grid.html"
    grid_page.write(path, done())
    page = path.read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'; " in policy
    assert page.count("&lt;/td&gt;&lt;script&gt;alert(1)") == 2, "its name, and the reason"
    assert "\x1b" not in page
    for fetched in ("<link", "<img", "src=", "url(", "@import", "http:", "https:"):
        assert fetched not in page


def test_each_cell_has_a_row_and_the_reader_is_told_how_many_were_tried(tmp_path: Path) -> None:
    path = tmp_path / "grid.html"
    grid_page.write(path, done())
    means, cells = (part.split("</table>")[0] for part in path.read_text().split("<tbody>")[1:])
    assert (means.count("<tr "), cells.count("<tr ")) == (1, 2)
    assert "<strong>2 cells were tried, 1 has figures: by luck alone" in path.read_text()


def test_the_terminal_gets_the_same_rows_and_nothing_that_it_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report.show(done())
    out, _ = capsys.readouterr()
    assert "\x1b" not in out
    assert "2 cells were tried" in out
    assert "no bars of </td>" in out


def test_a_grid_without_figures_says_so_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = replace(done(), slots=(done().slots[1],) * 2, summaries=())
    report.show(failed)
    out, _ = capsys.readouterr()
    assert out.endswith("2 cells were tried, none has figures.\n")
    grid_page.write(tmp_path / "grid.html", failed)
    for text in (out, (tmp_path / "grid.html").read_text()):
        assert "Means over the coins" not in text


def test_the_reader_of_one_slot_is_told_why_retrains_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained: list[Any] = [{"passed": False, "error": "UP is too rare"}, {"passed": True}]
    record = PolicyRecord([], trained, 1.0)
    one = replace(result("never", np.full(500, 1e-4)), record=record)
    report.show(GridResult((SlotBacktest(SlotName("BTC", "5m"), 12, (one,), 9.0),), ()))
    out, _ = capsys.readouterr()
    assert "never: 1 of 2 retrains failed, the last: UP is too rare" in out


def test_the_page_of_a_slot_says_which_policies_have_no_figures(tmp_path: Path) -> None:
    failed = done().slots[1]
    report.write(tmp_path / "slot.html", failed, Tracks(np.array([0, 300_000]), {}))
    page = (tmp_path / "slot.html").read_text()
    assert "never has no figures: no bars of &lt;/td&gt;" in page
    assert "<script" not in page
