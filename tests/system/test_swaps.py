"""The benchmark of the thousand swaps, two dozen of them: what must hold at any speed."""

import shutil
from pathlib import Path

import pytest

from benchmarks.swap.__main__ import run
from benchmarks.swap.setup import Settings

SWAPS, KILLS = 24, 6


@pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None,
    reason="mosquitto is not installed",
)
def test_swaps_with_processes_killed_leave_no_bar_unanswered_and_no_model_that_is_not_live(
    tmp_path: Path,
) -> None:
    settings = Settings(swaps=SWAPS, kills=KILLS, versions=4, load=0, bar_s=0.1, peer=False)
    found = run(tmp_path, settings)
    assert found["swaps"] == SWAPS
    assert found["kills"] == {"daemon": 2, "bot": 2, "broker": 2}
    assert (found["refused"], found["failed"]) == ([], [])
    bot = found["bot"]
    assert bot["bars"] > 0
    assert (bot["unanswered"], bot["torn"], bot["not_called_live"]) == (0, 0, 0)
