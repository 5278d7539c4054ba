"""Time the features against a bar-by-bar loop in plain Python, on the same bars in one run.

python -m benchmarks.features [--data BTC-5m.parquet] [--json]
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retrain import features
from tests.retrain import reference
from tests.retrain.market import made_up

BUDGET_MS, BUDGET_RATIO, BUDGET_BARS = 60, 50, 50_000


def timed(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Return the shortest time in ms, and the result."""
    best, result = float("inf"), None
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        best = min(best, (time.perf_counter() - start) * 1000)
    return best, result


def load(file: Path | None) -> dict[str, Any]:
    """Read recorded bars, without funding and cohorts, or make bars up."""
    frame = made_up(BUDGET_BARS, seed=1, flat_frac=0.03, silent_frac=0.03)
    if file is None:
        return frame
    bars = pd.read_parquet(file)
    rest = {name: frame[name][: len(bars)] for name in ("funding", "s_top", "s_bot")}
    return {str(name): bars[name].to_numpy() for name in bars} | rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="Parquet file with t, open ... volume")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    frame = load(options.data)
    n_bars = len(frame["t"])
    fast_ms, fast = timed(lambda: features.compute(frame), 7)
    slow_ms, slow = timed(lambda: np.array(reference.rows(frame)), 1)
    live = {name: column[-features.LIVE_BARS :] for name, column in frame.items()}
    live_ms, last = timed(lambda: features.compute(live)[-1], 50)
    found = {
        "bars": n_bars,
        "compute_ms": round(fast_ms, 2),
        "compute_ms_per_50k_bars": round(fast_ms * BUDGET_BARS / n_bars, 2),
        "loop_ms": round(slow_ms, 1),
        "ratio": round(slow_ms / fast_ms, 1),
        "live_row_ms": round(live_ms, 2),
        "max_abs_difference_to_loop": float(np.nanmax(np.abs(fast - slow))),
        "max_abs_difference_live": float(np.abs(last - fast[-1]).max()),
    }
    found["within_budget"] = bool(
        found["compute_ms_per_50k_bars"] <= BUDGET_MS and found["ratio"] >= BUDGET_RATIO
    )
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:28} {value}")


if __name__ == "__main__":
    main()
