"""Measure false alarms and delay of the win-rate watch beside river's detectors as they come.

python -m benchmarks.winrate [--records 500] [--json]

False alarms are counted over 1,000 trades that win 55 % of the time, the delay from the trade
at which that falls to 45 %, after 300 good ones.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift as river_drift

from monitor.winrate import WinRate

GOOD, BAD = 0.55, 0.45
STABLE, BEFORE, AFTER = 1_000, 300, 1_500


def ours(reference: float | None) -> Callable[[], Callable[[bool], bool]]:
    def begin() -> Callable[[bool], bool]:
        record = WinRate(reference)
        return lambda won: any(fell.kind != "streak" for fell in record.update(0, won, 0.0))

    return begin


def of_river(make: Callable[[], Any], *, errors: bool) -> Callable[[], Callable[[bool], bool]]:
    def begin() -> Callable[[bool], bool]:
        detector = make()

        def take(won: bool) -> bool:
            detector.update((not won) if errors else float(won))
            return bool(detector.drift_detected)

        return take

    return begin


RIVALS = {
    "ours, rate judged": ours(GOOD),
    "ours, rate learnt": ours(None),
    "ADWIN": of_river(river_drift.ADWIN, errors=False),
    "PageHinkley": of_river(river_drift.PageHinkley, errors=False),
    "DDM": of_river(river_drift.binary.DDM, errors=True),
    "EDDM": of_river(river_drift.binary.EDDM, errors=True),
    "HDDM_A": of_river(river_drift.binary.HDDMA, errors=True),
    "HDDM_W": of_river(river_drift.binary.HDDMW, errors=True),
}


def first(begin: Callable[[], Callable[[bool], bool]], outcomes: NDArray[np.bool_]) -> int | None:
    """Return the trade at which it first fired."""
    take = begin()
    return next((i for i, won in enumerate(outcomes.tolist()) if take(won)), None)


def measured(begin: Callable[[], Callable[[bool], bool]], records: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    stable = [first(begin, rng.random(STABLE) < GOOD) for _ in range(records)]
    delays: list[float] = []
    for _ in range(records):
        rate = np.repeat((GOOD, BAD), (BEFORE, AFTER))
        fired = first(begin, rng.random(len(rate)) < rate)
        if fired is None or fired >= BEFORE:  # one that fired too early shows no delay
            delays.append(float("inf") if fired is None else fired - BEFORE + 1)
    median = float(np.median(delays)) if delays else float("inf")
    return {
        "false_alarms": round(sum(fired is not None for fired in stable) / records, 4),
        "median_delay_trades": median if np.isfinite(median) else None,
        "missed": round(float(np.mean(np.isinf(delays))), 4) if delays else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {name: measured(begin, options.records) for name, begin in RIVALS.items()}
    if options.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        print(f"{name:20} {row}")


if __name__ == "__main__":
    main()
