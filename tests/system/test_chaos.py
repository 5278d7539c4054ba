"""Half a bad minute; `make chaos` makes fifteen of it, with every kind of fault."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = (
    *("daemon_kill", "store_corrupt", "read_only", "disk_full", "pointer_lost", "model_tampered"),
    *("broker_gone", "bot_kill", "link_down", "http_error"),
)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
    reason="mosquitto is not installed",
)
def test_after_bad_seconds_nothing_is_lost_and_the_live_model_answers(tmp_path: Path) -> None:
    command = (
        *(sys.executable, "-m", "benchmarks.chaos", "--json", "--keep", str(tmp_path / "chaos")),
        *("--minutes", "0.5", "--every-s", "1.4", "--seed", "97", "--speed", "900"),
        *("--encore-s", "0", "--kinds", ",".join(KINDS)),
    )
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["violated"] == [], done.stderr
    assert done.returncode == 0
    assert found["store"]["equal"] == found["store"]["compared"] > 4000
    table = found["faults"]["table"].values()
    assert sum(row["told"] for row in table) >= 5
    assert sum(row["untold"] for row in table) == 0
