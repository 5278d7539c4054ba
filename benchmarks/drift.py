"""Measure false alarms and delays of the drift monitor beside river's detectors.

python -m benchmarks.drift --data BTC-5m.parquet [--months 20] [--repeats 15] [--json]

Quiet months are days of the recording in random order (a block bootstrap), so nothing in them
changes. Changes are planted into such months from their first bar on; "returns x 2" doubles every
log return of the candles before the features are computed. river's detectors are measured twice:
with their default settings, and with the sensitivity at which the family of them raises one alarm
in 30 quiet days, as ours. They learn their reference from ten quiet days first, and start again
after each alarm. KSWIN takes 130 to 260 us for a value, too long to be tuned, so it is measured
with its defaults over one quiet month. The settled funding is read from COIN-funding.parquet
beside the bars, if it is there.
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

from monitor.drift.calibration import Calibration, calibrate
from monitor.drift.drift_monitor import DriftMonitor
from monitor.drift.normal_scores import DAY_MS
from retrain import features

BAR_MS = 300_000
DAY_BARS = DAY_MS // BAR_MS
HOUR_MS = 3_600_000
MONTH_DAYS = 30
PATIENCE_DAYS = 8
PEER_DAYS = 10
PEER_MONTHS = 4
Rows = NDArray[np.float64]
Make = Callable[[], Any]
# A family of each detector, from fast to slow, by one parameter.
PEERS: dict[str, Callable[[float], Make]] = {
    "ADWIN": lambda power: lambda: river_drift.ADWIN(delta=0.002 * 10.0**-power),
    "PageHinkley": lambda power: (
        lambda: river_drift.PageHinkley(threshold=50 * 10.0 ** (power / 8))
    ),
}


def recorded(file: Path, stretch: float = 1.0) -> tuple[NDArray[np.int64], Rows]:
    """Return open times and finite feature rows, every log return `stretch` times as large."""
    bars = pd.read_parquet(file)
    frame: dict[str, Any] = {str(name): bars[name].to_numpy() for name in bars}
    first = frame["close"][0]
    for name in ("open", "high", "low", "close"):
        frame[name] = first * (frame[name] / first) ** stretch
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


class Planted:
    """Changes by name: each makes `PATIENCE_DAYS` of rows that have it from the first bar on."""

    def __init__(self, days: Rows, wild: Rows) -> None:
        self._days, self._wild, self._sd = days, wild, days.std(axis=(0, 1))

    def names(self) -> list[str]:
        moving = [n for n, sd in zip(features.NAMES, self._sd, strict=True) if sd > 0]
        shifts = [f"{name} +1 sd" for name in moving]
        alone = [f"{n} of other days" for n in ("rv_1h", "volume_intensity", "vwap_momentum")]
        return [*shifts, "returns x 2", "mom_1 x 2", *alone]

    def make(self, what: str, rng: np.random.Generator) -> Rows:
        source = self._wild if what == "returns x 2" else self._days
        rows = shuffled(source, PATIENCE_DAYS, rng).copy()
        name, _, change = what.partition(" ")
        if name in features.NAMES:
            j = features.NAMES.index(name)
            if change == "+1 sd":
                rows[:, j] += self._sd[j]
            elif change == "x 2":
                rows[:, j] *= 2
            else:  # a broken relation: the column keeps its distribution, but not its relation
                rows[:, j] = shuffled(source, PATIENCE_DAYS, rng)[:, j]
        return rows


def first_alarm(calibration: Calibration, rows: Rows) -> tuple[float, str]:
    """Return hours until the first alarm, and the feature that raised it."""
    monitor = DriftMonitor.from_calibration(calibration)
    for i, row in enumerate(rows):
        for alarm in monitor.update(i * BAR_MS, row):
            return (i + 1) * BAR_MS / HOUR_MS, alarm.name
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
        "months_with_one": round(float(np.mean(np.array(ours) > 0)), 3),
        "months": months,
        "microseconds_per_bar": round((time.perf_counter() - began) / bars * 1e6, 1),
    }


def planted(calibration: Calibration, changes: Planted, repeats: int) -> dict[str, Any]:
    """Return median hours until a change is detected, and how often the right feature is named."""
    table = {}
    for what in changes.names():
        rng = np.random.default_rng(2)
        seen = [first_alarm(calibration, changes.make(what, rng)) for _ in range(repeats)]
        named = sum(what.startswith(name + " ") for _, name in seen)
        table[what] = {"median_hours": _median([hours for hours, _ in seen])}
        if what != "returns x 2":
            table[what]["named"] = f"{named}/{repeats}"
    return table


def faults(calibration: Calibration, days: Rows) -> dict[str, dict[str, float | None]]:
    """Return hours until each feature is reported frozen, or missing."""
    found: dict[str, dict[str, float | None]] = {"frozen": {}, "missing": {}}
    for kind, hours in found.items():
        for j in np.flatnonzero(days.std(axis=(0, 1)) > 0):
            rows = shuffled(days, 4, np.random.default_rng(3)).copy()
            rows[DAY_BARS:, j] = rows[DAY_BARS, j] if kind == "frozen" else np.nan
            name = features.NAMES[j]
            hours[name] = _median([_first_fault(calibration, rows, name)])
    return found


def _first_fault(calibration: Calibration, rows: Rows, name: str) -> float:
    monitor = DriftMonitor.from_calibration(calibration)
    for i, row in enumerate(rows):
        monitor.update(i * BAR_MS, row)
        if any(fault.name == name for fault in monitor.faults()):
            return (i + 1 - DAY_BARS) * BAR_MS / HOUR_MS
    return float("inf")


def alarms(make: Make, rows: Rows) -> list[int]:
    """Return the rows at which any of a family, a detector for each column, fired."""
    found = []
    for column in rows.T:
        detector = make()
        for i, value in enumerate(column.tolist()):
            detector.update(value)
            if detector.drift_detected:
                found.append(i)
    return sorted(found)


def peer(make: Make, days: Rows, changes: Planted, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    scale = days.std(axis=(0, 1))
    scale[scale == 0] = 1.0
    fired = [len(alarms(make, shuffled(days, MONTH_DAYS, rng) / scale)) for _ in range(PEER_MONTHS)]
    table = {}
    for what in changes.names():
        rng, seen = np.random.default_rng(2), []
        for _ in range(repeats):
            before = shuffled(days, PEER_DAYS, rng)
            rows = np.concatenate([before, changes.make(what, rng)]) / scale
            after = [i - len(before) for i in alarms(make, rows) if i >= len(before)]
            seen.append((after[0] + 1) * BAR_MS / HOUR_MS if after else float("inf"))
        table[what] = _median(seen)
    return {"false_alarms_per_30_days": round(float(np.mean(fired)), 2), "median_hours": table}


def as_rare_as_ours(family: Callable[[float], Make], days: Rows) -> float:
    """Return the parameter with which a family raises one alarm in 30 quiet days."""
    rng = np.random.default_rng(4)
    scale = days.std(axis=(0, 1))
    scale[scale == 0] = 1.0
    months = [shuffled(days, MONTH_DAYS, rng) / scale for _ in range(PEER_MONTHS)]
    low, high = 0.0, 64.0
    for _ in range(7):
        middle = (low + high) / 2
        often = np.mean([len(alarms(family(middle), rows)) for rows in months]) > 1
        low, high = (middle, high) if often else (low, middle)
    return high


def peers(days: Rows, changes: Planted, repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, family in PEERS.items():
        found[f"{name}, defaults"] = peer(family(0.0), days, changes, repeats)
        rare = family(as_rare_as_ours(family, days))
        found[f"{name}, as rare"] = peer(rare, days, changes, repeats)
    month = shuffled(days, MONTH_DAYS, np.random.default_rng(1))
    fired = len(alarms(lambda: river_drift.KSWIN(seed=1), month))
    found["KSWIN, defaults"] = {"false_alarms_per_30_days": fired}
    return found


def _median(hours: list[float]) -> float | None:
    median = float(np.median(hours))
    return round(median, 2) if np.isfinite(median) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Parquet file of 5m bars")
    parser.add_argument("--months", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
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
    changes = Planted(days, whole_days(*recorded(options.data, stretch=2.0)))
    found |= quiet(calibration, days, options.months)
    found["hours_to_a_fault_of_the_feed"] = faults(calibration, days)
    found["planted"] = planted(calibration, changes, options.repeats)
    if options.peers:
        found["river"] = peers(days, changes, max(1, options.repeats // 5))
    if options.json:
        print(json.dumps(found))
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    peers = found.pop("river", {})
    table = found.pop("planted")
    for name, value in found.items():
        print(f"{name:36} {value}")
    for name, row in peers.items():
        print(f"{name:36} {row['false_alarms_per_30_days']} false alarms per 30 days")
    beside = {name: row["median_hours"] for name, row in peers.items() if "median_hours" in row}
    print(f"{'median hours until seen':32} {'ours':>8}" + "".join(f"{n:>24}" for n in beside))
    for what, seen in table.items():
        cells = [seen["median_hours"], *(row[what] for row in beside.values())]
        print(f"{what:32} {cells[0]!s:>8}" + "".join(f"{cell!s:>24}" for cell in cells[1:]))


if __name__ == "__main__":
    main()
