"""Measure false alarms and delays of the drift monitor beside river's detectors as they come.

python -m benchmarks.drift --data BTC-5m.parquet [--months 20] [--repeats 9] [--json]

Quiet months are days of the recording in random order (a block bootstrap), so nothing in
them has changed. Changes are planted into such months from their first bar on. The settled
funding is read from COIN-funding.parquet beside the bars, if it is there.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from river import drift as river_drift

from monitor.calibration import Calibration, calibrate
from monitor.drift import DriftMonitor
from monitor.reference import DAY_MS
from retrain import features

BAR_MS = 300_000
DAY_BARS = DAY_MS // BAR_MS
MONTH_DAYS = 30
PATIENCE_DAYS = 12
RIVER: dict[str, Callable[[], Any]] = {
    "ADWIN": river_drift.ADWIN,
    "PageHinkley": river_drift.PageHinkley,
    "KSWIN": lambda: river_drift.KSWIN(seed=1),
}
Rows = NDArray[np.float64]


def recorded(file: Path) -> tuple[NDArray[np.int64], Rows]:
    """Return open times and finite feature rows of a recording."""
    bars = pd.read_parquet(file)
    frame: dict[str, Any] = {str(name): bars[name].to_numpy() for name in bars}
    settled = file.with_name(file.name.replace("-5m", "-funding"))
    frame["s_top"] = frame["s_bot"] = frame["funding"] = np.zeros(len(bars))
    if settled.exists() and settled != file:
        rates = pd.read_parquet(settled)
        closes = frame["t"] + BAR_MS
        frame["funding"] = features.funding_as_of(
            closes, rates["time"].to_numpy(), rates["rate"].to_numpy()
        )
    rows = features.compute(frame)
    whole = np.isfinite(rows).all(axis=1)
    return frame["t"][whole], rows[whole]


def whole_days(t: NDArray[np.int64], rows: Rows) -> Rows:
    """Return the recording's complete days, shape (days, bars, features)."""
    start = int(np.searchsorted(t, -(-t[0] // DAY_MS) * DAY_MS))
    days = (len(t) - start) // DAY_BARS
    return rows[start : start + days * DAY_BARS].reshape(days, DAY_BARS, -1)


def shuffled(days: Rows, count: int, rng: np.random.Generator) -> Rows:
    return days[rng.integers(len(days), size=count)].reshape(count * DAY_BARS, -1)


def first_alarm(calibration: Calibration, rows: Rows) -> tuple[float, str]:
    """Return hours until the first alarm, and whose it was."""
    monitor = DriftMonitor.from_calibration(calibration)
    for i, row in enumerate(rows):
        for alarm in monitor.update(i * BAR_MS, row):
            return (i + 1) * BAR_MS / 3_600_000, alarm.name
    return float("inf"), ""


def quiet(calibration: Calibration, days: Rows, months: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    ours, bars, began = [], 0, time.perf_counter()
    for _ in range(months):
        monitor = DriftMonitor.from_calibration(calibration)
        rows = shuffled(days, MONTH_DAYS, rng)
        ours.append(sum(len(monitor.update(i * BAR_MS, row)) for i, row in enumerate(rows)))
        bars += len(rows)
    return {
        "false_alarms_per_30_days": round(float(np.mean(ours)), 3),
        "microseconds_per_bar": round((time.perf_counter() - began) / bars * 1e6, 1),
    }


def river_quiet(days: Rows) -> dict[str, int]:
    """Return alarms of each of river's detectors, as it comes, in one quiet month."""
    rows = shuffled(days, MONTH_DAYS, np.random.default_rng(1))
    found = {}
    for name, make in RIVER.items():
        alarms = 0
        for column in rows.T:
            detector = make()
            for value in column:
                detector.update(value)
                alarms += bool(detector.drift_detected)
        found[name] = alarms
    return found


def planted(calibration: Calibration, days: Rows, sd: Rows, repeats: int) -> dict[str, Any]:
    """Return median hours until a change is seen, and how often it was rightly named."""
    moving = [(j, name) for j, name in enumerate(features.NAMES) if sd[j] > 0]
    changes = [(f"{name} +1 sd", j, 1.0, sd[j]) for j, name in moving]
    changes.append(("mom_1 x 2", 0, 2.0, 0.0))
    table = {}
    for what, j, factor, shift in changes:
        rng = np.random.default_rng(2)
        seen = []
        for _ in range(repeats):
            rows = shuffled(days, PATIENCE_DAYS, rng).copy()
            rows[:, j] = factor * rows[:, j] + shift
            seen.append(first_alarm(calibration, rows))
        named = sum(name == features.NAMES[j] for _, name in seen)
        hours = float(np.median([hours for hours, _ in seen]))
        table[what] = {
            "median_hours": hours if np.isfinite(hours) else None,
            "named": f"{named}/{repeats}",
        }
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Parquet file of 5m bars")
    parser.add_argument("--months", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    t, rows = recorded(options.data)
    began = time.perf_counter()
    calibration = calibrate(rows, features.NAMES, DAY_BARS, reference_t=t)
    found: dict[str, Any] = {
        "bars": len(rows),
        "calibrate_s": round(time.perf_counter() - began, 2),
        "calibration_kb": round(len(calibration.to_json()) / 1000),
    }
    days = whole_days(t, rows)
    found |= quiet(calibration, days, options.months)
    found["river_defaults_alarms_per_30_days"] = river_quiet(days)
    found["planted"] = planted(calibration, days, rows.std(axis=0), options.repeats)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        if name != "planted":
            print(f"{name:36} {value}")
    for what, seen in found["planted"].items():
        print(f"{what:36} {seen['median_hours']} h, rightly named {seen['named']}")


if __name__ == "__main__":
    main()
