"""Calibrate the drift monitor of a candidate, in a child process.

The calibration computes for seconds, and the daemon's event loop must not wait for it. It needs
both `retrain` (the features) and `monitor` (the detectors), which do not import each other.

    python -m daemon.training.drift_calibration JOB_DIR FALSE_ALARMS_PER_MONTH
"""

import json
import sys
from pathlib import Path

import numpy as np

from hyperdrift.slot_name import DAY_MS, SlotName
from monitor.drift.calibration import calibrate as calibrate_drift
from monitor.errors import BadReference
from retrain import features
from retrain.forms import job_bars

# Older rows describe the present market less well. At 5m this is 139 days.
REFERENCE_ROWS = 40_000


def calibrate(folder: Path, false_alarms_per_month: float) -> str:
    """Return the calibration, as JSON text, for the bars and settings of one job folder.

    Raises:
        BadReference: If the bars allow none.
    """
    job = json.loads((folder / "job.json").read_text())
    frame = job_bars.read(folder)
    # The retrain ran a bot's own feature class, in the interpreter that has its libraries.
    theirs = folder / "features.npy"
    rows = np.load(theirs) if theirs.exists() else features.compute(frame)
    known = np.isfinite(rows).all(axis=1)
    interval_ms = SlotName.parse(job["slot"]).interval_ms
    calibration = calibrate_drift(
        rows[known][-REFERENCE_ROWS:],
        features.NAMES,
        DAY_MS // interval_ms,
        reference_t=frame["t"][known][-REFERENCE_ROWS:],
        false_alarms_per_month=false_alarms_per_month,
        seed=int(job.get("seed", 0)),
    )
    return calibration.to_json()


def main(arguments: list[str]) -> int:
    """Write `calibration.json` into the job folder and print one JSON line."""
    folder, rate = Path(arguments[0]), float(arguments[1])
    try:
        (folder / "calibration.json").write_text(calibrate(folder, rate))
    except BadReference as e:
        line = {"event": "failed", "kind": type(e).__name__, "error": str(e)}
        sys.stdout.write(json.dumps(line) + "\n")
        return 2
    sys.stdout.write(json.dumps({"event": "finished"}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
