"""Time one whole retrain beside scikit-learn's own StackingClassifier, in one run.

python -m benchmarks.retrain --data BTC-5m.parquet --funding BTC-funding.parquet --json
"""

import argparse
import json
import os
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


def ours(frame: dict[str, np.ndarray]) -> dict[str, object]:
    """Run a whole retrain: out-of-fold rows, twin, gates, refit, self-test."""
    job = pipeline.Job(
        slot="BTC-5m",
        interval="5m",
        horizon_bars=HORIZON_BARS,
        threshold=THRESHOLD,
        at_ms=int(frame["t"][-1]),
        frame=frame,
        jobs=2,
    )
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = pipeline.run(job, Path(folder), lambda _step, _percent: None, time.perf_counter)
        seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 2),
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
    start = time.perf_counter()
    stack.fit(rows.features[rows.train], rows.labels[rows.train])
    seconds = time.perf_counter() - start
    p = stack.predict_proba(rows.features[rows.test])
    loss = row_log_loss(rows.labels[rows.test], p).mean()
    return {"seconds": round(seconds, 2), "test_log_loss": round(float(loss), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--funding", type=Path)
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
    if args.json:
        print(json.dumps(result, indent=1))
        return
    print(
        f"{len(frame['t'])} bars: {mine['seconds']} s, test log loss {mine['test_log_loss']}; "
        f"StackingClassifier {theirs['seconds']} s, {theirs['test_log_loss']}; "
        f"{result['times_faster']} times faster"
    )


if __name__ == "__main__":
    main()
