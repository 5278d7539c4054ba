"""Time one prediction of a bot from each form of one model, alone and beside a retrain.

python -m benchmarks.predict [--data BTC-5m.parquet] [--rows 2000] [--nice 10] [--json]

The model is a whole stack, retrained here. Both forms answer the same rows in turn, one row a call,
through `LiveModel.predict`, with the pause of `PACE_S` between two calls that a bot makes too. In
the second half a child retrains again and again on two cores, at the priority that the daemon
gives it. Budget of the portable form: p99 0.5 ms alone, 2 ms beside a retrain, and in the median
50 times as fast as the joblib form.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.retrain import read
from daemon.demo.market import generate
from hyperdrift.live_model import LiveModel
from hyperdrift.loaded_model import FORMS
from hyperdrift.slot_name import SlotName
from retrain import features, pipeline

SLOT = SlotName("BTC", "5m")
BARS = 12_000
START_MS = 1_760_000_100_000
PACE_S = 0.003
_AGAIN = (
    "import sys; from pathlib import Path; from benchmarks import predict\n"
    "while True: predict.retrained(predict.market(Path(sys.argv[1]) if sys.argv[1] else None),"
    " Path(sys.argv[2]))"
)


def market(data: Path | None) -> dict[str, np.ndarray]:
    """Return the bars of a recording, or made-up ones."""
    if data:
        return read(data, data.with_name("BTC-funding.parquet"))
    made = generate(BARS, SLOT.interval_ms, 11, start_ms=START_MS)
    columns = ("t", "open", "high", "low", "close", "volume")
    nothing = {name: np.zeros(BARS) for name in ("funding", "s_top", "s_bot")}
    return {name: getattr(made, name) for name in columns} | nothing


def retrained(frame: dict[str, np.ndarray], folder: Path) -> Path:
    """Train, judge and save a stack with two threads; return its manifest."""
    job = pipeline.Job(
        slot=str(SLOT),
        interval=SLOT.interval,
        horizon_bars=12,
        threshold=0.005,
        at_ms=int(frame["t"][-1]),
        frame=frame,
        jobs=2,
    )
    made = pipeline.run(job, folder, lambda _step, _percent: None, time.perf_counter)
    return folder / f"manifest_{made.manifest['model_id']}.json"


def timed(models: dict[str, LiveModel], rows: np.ndarray) -> dict[str, dict[str, float]]:
    """Return the quantiles of the time of one call, ms, of each form."""
    spent: dict[str, list[float]] = {form: [] for form in models}
    for row in rows.tolist():
        for form, model in models.items():
            time.sleep(PACE_S)
            begin = time.perf_counter()
            model.predict(row)
            spent[form].append((time.perf_counter() - begin) * 1000)
    return {
        form: {
            "p50_ms": round(float(np.quantile(of, 0.5)), 4),
            "p99_ms": round(float(np.quantile(of, 0.99)), 4),
            "max_ms": round(max(of), 4),
        }
        for form, of in spent.items()
    }


def measured(data: Path | None, count: int, nice: int) -> dict[str, object]:
    """Retrain once, then time both forms alone and beside further retrains."""
    frame = market(data)
    with tempfile.TemporaryDirectory() as folder:
        manifest = retrained(frame, Path(folder) / "model")
        models = {form: LiveModel(SLOT, None, "builtin", form) for form in FORMS}
        meta = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(meta | {"promoted_by": "benchmark"}))
        for model in models.values():
            model.take(manifest)
        rows = features.compute(frame)
        rows = rows[np.isfinite(rows).all(axis=1)][-count:]
        timed(models, rows[:50])  # the first calls allocate
        alone = timed(models, rows)
        command = ["nice", "-n", str(nice), sys.executable, "-c", _AGAIN]
        arguments = [str(data or ""), str(Path(folder) / "other")]
        with subprocess.Popen([*command, *arguments]) as child:
            time.sleep(10)  # its imports and features, which are not the retrain
            beside = timed(models, rows)
            trained_on = child.poll() is None
            child.kill()
    return {
        "rows": len(rows),
        "bars": len(frame["t"]),
        "load_average": os.getloadavg()[0],
        "alone": alone,
        "beside_a_retrain": beside,
        "retrain_ran_to_the_end": trained_on,
        "times_as_fast": {
            name: round(of["joblib"]["p50_ms"] / of["onnx"]["p50_ms"], 1)
            for name, of in (("alone", alone), ("beside_a_retrain", beside))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="one document instead of a table")
    args = parser.parse_args()
    result = measured(args.data, args.rows, args.nice)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name in ("alone", "beside_a_retrain"):
        for form, of in result[name].items():  # type: ignore[attr-defined]
            print(f"{name:17} {form:7} p50 {of['p50_ms']:8.3f} ms, p99 {of['p99_ms']:8.3f} ms")
    print(f"times as fast in the median: {result['times_as_fast']}")


if __name__ == "__main__":
    main()
