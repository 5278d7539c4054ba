"""The child process under another interpreter, with the oldest libraries that work."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from daemon.training.jobs import Jobs, Limits
from tests.retrain.planted import HORIZON, THRESHOLD, planted

OLDEST = os.environ.get("HYPERDRIFT_OLDEST", "")
ROOT = Path(__file__).parents[2]
LOAD = """
import json, sys, warnings, joblib, pandas
warnings.simplefilter("error")
manifest = json.load(open(sys.argv[1]))
folder = sys.argv[1].rpartition("/")[0] + "/"
golden = json.load(open(folder + manifest["golden"]))
names = json.load(open(folder + manifest["feature_columns"]))["feature_cols"]
model = joblib.load(folder + manifest["meta_classifier"])
p = model.predict_proba(pandas.DataFrame(golden["rows"][:1], columns=names))
assert abs(p - golden["probabilities"][:1]).max() < 1e-9
assert not [name for name in sys.modules if name.split(".")[0] in ("retrain", "daemon", "monitor")]
print(manifest["sklearn"])
"""

pytestmark = pytest.mark.skipif(not OLDEST, reason="`make oldest` names the interpreter")


async def test_it_trains_what_its_own_libraries_load(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path, Limits(python=OLDEST, timeout_s=400))
    spec: dict[str, Any] = {
        "slot": "TEST-5m",
        "interval": "5m",
        "horizon_bars": HORIZON,
        "threshold": THRESHOLD,
        "at_ms": 1_760_000_000_000,
        "python": OLDEST,
        "gates": {"train_accuracy": 0.5},
    }
    frame = dict(planted(2_500, seed=1))
    outcome = await jobs.retrain("job", spec, frame, lambda _line: None)
    gates = {gate["name"]: gate["passed"] for gate in outcome.gates}
    assert gates["loads"]
    assert gates["parity"]
    command = [OLDEST, "-I", "-c", LOAD, str(outcome.manifest)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    pinned = (ROOT / "requirements-oldest.in").read_text().split()
    assert f"scikit-learn=={done.stdout.strip()}" in pinned
    manifest = json.loads(outcome.manifest.read_text())
    assert "matplotlib is not installed" in (outcome.folder / manifest["report"]).read_text()
