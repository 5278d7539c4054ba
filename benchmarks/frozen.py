"""Measure how soon a frozen feature is reported, and how often a report is false.

python -m benchmarks.frozen --data BTC-5m.parquet [--json]

The monitor learns the older 60 % of a recording and follows the rest. As recorded, one feature at a
time is frozen there, every 1500 bars; nothing else is planted, so any other report is false. The
same is done with most bars of the recording made untraded, as in an illiquid coin, and with an
outage of the venue in it: bars without a trade at the last price.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitor.drift.calibration import Calibration, calibrate
from monitor.drift.drift_monitor import DriftMonitor
from monitor.drift.feed_health import ALL, FeedHealth
from monitor.drift.normal_scores import DAY_MS
from monitor.watch import FLAT_BARS
from retrain import features

BAR_MS = 300_000
LEARNT, EVERY, BEFORE, PATIENCE = 0.6, 1500, 100, 1500
TRADED = (1.0, 0.4, 0.1)
OUTAGES = (144, 864)
Frame = dict[str, NDArray[Any]]


def recorded(file: Path) -> Frame:
    bars = pd.read_parquet(file)
    frame: Frame = {str(name): bars[name].to_numpy() for name in bars}
    rates = pd.read_parquet(file.with_name(file.name.replace("-5m", "-funding")))
    closes = frame["t"] + BAR_MS
    frame["funding"] = features.funding_as_of(
        closes, rates["time"].to_numpy(), rates["rate"].to_numpy()
    )
    frame["s_top"] = frame["s_bot"] = np.zeros(len(bars))
    return frame


def untraded(frame: Frame, silent: NDArray[np.bool_]) -> Frame:
    """Return the bars, those of a mask at the last price and without volume."""
    last = np.maximum.accumulate(np.where(silent, 0, np.arange(len(silent))))
    changed = {
        name: np.where(silent, frame["close"][last], frame[name])
        for name in ("open", "high", "low", "close")
    }
    return frame | changed | {"volume": np.where(silent, 0.0, frame["volume"])}


def learnt(frame: Frame, stop: int) -> Calibration:
    rows = features.compute(frame)[:stop]
    whole = np.isfinite(rows).all(axis=1)
    times = frame["t"][:stop][whole]
    return calibrate(rows[whole], features.NAMES, DAY_MS // BAR_MS, reference_t=times)


def reports(
    calibration: Calibration, frame: Frame, rows: NDArray[np.float64], part: range
) -> list[tuple[int, str]]:
    """Follow some bars; return the bar and the feature of each fault reported."""
    monitor, close = DriftMonitor.from_calibration(calibration), frame["close"]
    found = []
    for i in part:
        flat = bool((close[i - FLAT_BARS : i] == close[i]).all())
        monitor.update(int(frame["t"][i]), rows[i], flat=flat)
        found += [(i, fault.name) for fault in monitor.faults()]
    return found


def delays(calibration: Calibration, frame: Frame, start: int) -> dict[str, dict[str, float]]:
    """Return hours from a freeze to its report, by feature."""
    rows, table = features.compute(frame), {}
    limits = FeedHealth(calibration.reference).limits
    for j, name in enumerate(features.NAMES):
        if not np.isfinite(limits[j]):
            continue
        hours = []
        for began in range(start + BEFORE, len(rows) - PATIENCE, EVERY):
            frozen = rows.copy()
            frozen[began:, j] = rows[began, j]
            part = range(began - BEFORE, began + PATIENCE)
            found = [
                i for i, who in reports(calibration, frame, frozen, part) if who in {name, ALL}
            ]
            hours.append((found[0] + 1 - began) / 12 if found else float("inf"))
        table[name] = {"median": float(np.median(hours)), "most": max(hours)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="COIN-5m.parquet, funding beside")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    whole, found = recorded(options.data), dict[str, Any]()
    bars = len(whole["t"])
    start = round(LEARNT * bars)
    for share in TRADED:
        silent = np.random.default_rng(1).random(bars) > share
        frame = untraded(whole, silent)
        calibration = learnt(frame, start)
        row: dict[str, Any] = {}
        for outage in (0, *OUTAGES):
            there = np.zeros(bars, dtype=bool)
            there[start + 3000 : start + 3000 + outage] = True
            live = untraded(frame, there)
            wrong = reports(calibration, live, features.compute(live), range(start, bars))
            row[f"false, outage of {outage // 12} h"] = wrong
        row["hours"] = delays(calibration, frame, start)
        found[f"{share:.0%} of bars traded"] = row
    if options.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        print(name, {key: value for key, value in row.items() if key != "hours"})
        for feature, hours in row["hours"].items():
            print(f"    {feature:20} {hours['median']:.2f} h, at most {hours['most']:.2f} h")


if __name__ == "__main__":
    main()
