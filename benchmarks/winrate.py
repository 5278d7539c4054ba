"""Measure false alarms and delay of the win-rate watch beside river's detectors.

python -m benchmarks.winrate [--records 500] [--json]

False alarms are counted over 1,000 trades that win 55 % of the time, the delay from the trade
at which that falls to 45 %, after 300 good ones. river's detectors are measured twice: with their
defaults, and as sensitive as possible with at most 2 % of stable records raising an alarm. The
sensitivity is chosen on records of one seed; all figures are from records of another, as for ours.
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
ALLOWED = 0.02
CHOOSING, REPORTING = 1, 3
CHOICE_RECORDS = 300
Begin = Callable[[], Callable[[bool], bool]]


def ours(reference: float | None) -> Begin:
    def begin() -> Callable[[bool], bool]:
        record = WinRate(reference)
        return lambda won: any(fell.kind != "streak" for fell in record.update(0, won, 0.0))

    return begin


def of_river(make: Callable[[], Any], *, errors: bool) -> Begin:
    def begin() -> Callable[[bool], bool]:
        detector = make()

        def take(won: bool) -> bool:
            detector.update((not won) if errors else float(won))
            return bool(detector.drift_detected)

        return take

    return begin


OURS = {"ours, rate judged": ours(GOOD), "ours, rate learnt": ours(None)}
# Each by one number: 0 is the default, larger is slower; some of them watch the losses.
PEERS: dict[str, tuple[bool, Callable[[float], Callable[[], Any]]]] = {
    "ADWIN": (False, lambda s: lambda: river_drift.ADWIN(delta=0.002 * 10.0**-s)),
    "PageHinkley": (
        False,
        lambda s: lambda: river_drift.PageHinkley(threshold=50 * 4.0**s),
    ),
    "DDM": (True, lambda s: lambda: river_drift.binary.DDM(drift_threshold=3.0 + s)),
    "EDDM": (True, lambda s: lambda: river_drift.binary.EDDM(beta=0.9 * 0.95**s)),
    "HDDM_A": (True, lambda s: lambda: river_drift.binary.HDDMA(drift_confidence=0.001 * 10.0**-s)),
    "HDDM_W": (True, lambda s: lambda: river_drift.binary.HDDMW(drift_confidence=0.001 * 10.0**-s)),
}


def alarming(begin: Begin, records: int, seed: int) -> float:
    """Return the share of stable records that raised an alarm."""
    rng = np.random.default_rng(seed)
    fired = [first(begin, rng.random(STABLE) < GOOD) is not None for _ in range(records)]
    return sum(fired) / records


def as_rare_as_allowed(make: Callable[[float], Callable[[], Any]], *, errors: bool) -> float:
    """Return the smallest number at which at most `ALLOWED` of the records raise an alarm."""
    low, high = -2.0, 14.0
    for _ in range(8):
        middle = (low + high) / 2
        often = alarming(of_river(make(middle), errors=errors), CHOICE_RECORDS, CHOOSING) > ALLOWED
        low, high = (middle, high) if often else (low, middle)
    return high


def first(begin: Begin, outcomes: NDArray[np.bool_]) -> int | None:
    """Return the trade at which it first fired."""
    take = begin()
    return next((i for i, won in enumerate(outcomes.tolist()) if take(won)), None)


def measured(begin: Begin, records: int) -> dict[str, Any]:
    """Return false alarms and delay on records that no parameter was chosen on."""
    rng = np.random.default_rng((REPORTING, 1))
    delays: list[float] = []
    for _ in range(records):
        rate = np.repeat((GOOD, BAD), (BEFORE, AFTER))
        fired = first(begin, rng.random(len(rate)) < rate)
        if fired is None or fired >= BEFORE:  # one that fired too early shows no delay
            delays.append(float("inf") if fired is None else fired - BEFORE + 1)
    median = float(np.median(delays)) if delays else float("inf")
    return {
        "false_alarms": round(alarming(begin, records, REPORTING), 4),
        "median_delay_trades": median if np.isfinite(median) else None,
        "missed": round(float(np.mean(np.isinf(delays))), 4) if delays else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {name: measured(begin, options.records) for name, begin in OURS.items()}
    for name, (errors, make) in PEERS.items():
        rare = as_rare_as_allowed(make, errors=errors)
        for how, sluggish in (("defaults", 0.0), ("as rare", rare)):
            begin = of_river(make(sluggish), errors=errors)
            found[f"{name}, {how}"] = measured(begin, options.records)
    if options.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        print(f"{name:20} {row}")


if __name__ == "__main__":
    main()
