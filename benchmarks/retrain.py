"""Time one whole retrain beside scikit-learn's own StackingClassifier, in one run.

python -m benchmarks.retrain --data BTC-5m.parquet --funding BTC-funding.parquet --json
    [--child-bars 50000]

Seconds depend on what else the machine does; those of the processor (`cpu_s`, with all children)
less so. `--child-bars` also runs the child process as the daemon does, on that many bars (the
recording over and over), and measures its peak of resident memory.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression

from retrain import dataset, features, pipeline
from retrain.job import Job
from retrain.scores import row_log_loss

HORIZON_BARS, THRESHOLD = 12, 0.005


_OF_BARS = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def read(data: Path, funding: Path | None, step_ms: int | None = None) -> dict[str, np.ndarray]:
    """Read a recording, its bars put together to bars of `step_ms` if given, whole ones only."""
    bars = pd.read_parquet(data)
    step = int(np.median(np.diff(bars["t"])))
    if step_ms is not None and step_ms != step:
        groups = bars.groupby(bars["t"] // step_ms * step_ms)
        whole = groups.size() == step_ms // step
        bars, step = groups.agg(_OF_BARS)[whole].rename_axis("t").reset_index(), step_ms
    frame = {str(name): bars[name].to_numpy() for name in bars}
    frame["funding"] = np.zeros(len(bars))
    if funding:
        rates = pd.read_parquet(funding)
        frame["funding"] = features.funding_as_of(
            frame["t"] + step, rates["time"].to_numpy(), rates["rate"].to_numpy()
        )
    return frame | {"s_top": np.zeros(len(bars)), "s_bot": np.zeros(len(bars))}


def longer(frame: dict[str, np.ndarray], n_bars: int) -> dict[str, np.ndarray]:
    """Return that many bars: the recording again and again, each time from the last price on."""
    n, step = len(frame["t"]), int(np.median(np.diff(frame["t"])))
    again, at = np.divmod(np.arange(n_bars), n)
    long = {name: column[at] for name, column in frame.items()}
    for name in ("open", "high", "low", "close"):
        long[name] = long[name] * (frame["close"][-1] / frame["close"][0]) ** again
    return long | {"t": frame["t"][0] + step * np.arange(n_bars)}


def child(frame: dict[str, np.ndarray]) -> dict[str, object]:
    """Run a retrain in a process of its own; return its seconds and its peak memory in MiB."""
    job = {
        "slot": "BTC-5m",
        "interval": "5m",
        "horizon_bars": HORIZON_BARS,
        "threshold": THRESHOLD,
        "at_ms": int(frame["t"][-1]),
    }
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "bars.npz", **frame)
        (Path(folder) / "job.json").write_text(json.dumps(job))
        start, one = time.perf_counter(), {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "retrain", folder]
        silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        made = os.posix_spawn(command[0], command, {**os.environ, **one}, file_actions=silent)
        _, status, used = os.wait4(made, 0)
    return {
        "bars": len(frame["t"]),
        "exit": os.waitstatus_to_exitcode(status),
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_mib": used.ru_maxrss >> 10,
    }


def _cpu_s() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def ours(frame: dict[str, np.ndarray]) -> dict[str, object]:
    """Run a whole retrain: out-of-fold rows, twin, gates, refit, self-test."""
    job = Job(
        slot="BTC-5m",
        interval="5m",
        horizon_bars=HORIZON_BARS,
        threshold=THRESHOLD,
        at_ms=int(frame["t"][-1]),
        frame=frame,
        jobs=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), _cpu_s()
        made = pipeline.run(job, Path(folder), lambda _step, _percent: None, time.perf_counter)
        seconds, cpu = time.perf_counter() - start, _cpu_s() - cpu
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
        "test_log_loss": round(made.meta["scores"]["test"]["log_loss"], 4),
        "timings": made.meta["timings"],
        "refused_by": made.refused_by,
    }


def reference(rows: dataset.Rows) -> dict[str, object]:
    """Fit the textbook stack once on the training block, without judging or saving."""
    forest = {"max_depth": 16, "min_samples_leaf": 2, "random_state": 0}
    stack = StackingClassifier(
        [
            ("rf", RandomForestClassifier(300, **forest, n_jobs=2)),
            ("et", ExtraTreesClassifier(300, **forest, n_jobs=2)),
            ("hgb", HistGradientBoostingClassifier(max_iter=180, random_state=0)),
            (
                "gb",
                GradientBoostingClassifier(
                    n_estimators=200, max_depth=3, subsample=0.7, random_state=0
                ),
            ),
        ],
        final_estimator=LogisticRegression(max_iter=1000),
        cv=5,
    )
    start, cpu = time.perf_counter(), _cpu_s()
    stack.fit(rows.features[rows.train], rows.labels[rows.train])
    seconds, cpu = time.perf_counter() - start, _cpu_s() - cpu
    p = stack.predict_proba(rows.features[rows.test])
    loss = row_log_loss(rows.labels[rows.test], p).mean()
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
        "test_log_loss": round(float(loss), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--funding", type=Path)
    parser.add_argument("--child-bars", type=int, help="run the child process on so many bars too")
    parser.add_argument("--json", action="store_true", help="one document instead of a line")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    frame = read(args.data, args.funding)
    rows = dataset.build(frame, HORIZON_BARS, THRESHOLD, None, lambda _step: None)
    mine, theirs = ours(frame), reference(rows)
    result = {
        "bars": len(frame["t"]),
        "load_average": os.getloadavg()[0],
        "ours": mine,
        "reference": theirs,
        "times_faster": round(float(str(theirs["seconds"])) / float(str(mine["seconds"])), 1),
    }
    if args.child_bars:
        result["child"] = child(longer(frame, args.child_bars))
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(
        f"{len(frame['t'])} bars: {mine['seconds']} s, test log loss {mine['test_log_loss']}; "
        f"StackingClassifier {theirs['seconds']} s, {theirs['test_log_loss']}; "
        f"{result['times_faster']} times faster"
    )
    if args.child_bars:
        print(f"the child: {result['child']}")


if __name__ == "__main__":
    main()
