"""Time one prediction of a bot from each form of one model, alone and beside a retrain.

python -m benchmarks.predict [--data BTC-5m.parquet] [--rows 2000] [--nice 10] [--json]

The model is a whole stack, retrained here. Both forms answer the same rows, a hundred in turn, one
row a call, through `LiveModel.predict`: one call after the other, and after a pause of 3 ms, when
the processor has slept and forgotten the model, as it has in a bot. In the second half a child
retrains again and again on two cores, at the priority that the daemon gives it. Budget of the
portable form: p99 0.5 ms alone, 2 ms beside a retrain, and in the median 50 times as fast as the
joblib form.
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
from retrain.job import Job

SLOT = SlotName("BTC", "5m")
BARS = 12_000
START_MS = 1_760_000_100_000
BLOCK = 100
PAUSES_S = {"in_a_row": 0.0, "after_a_pause": 0.003}

Quantiles = dict[str, float]
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
    job = Job(
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


def timed(models: dict[str, LiveModel], rows: np.ndarray) -> dict[str, dict[str, Quantiles]]:
    """Return the quantiles of the time of one call, ms, by pause before it and by form."""
    spent: dict[str, dict[str, list[float]]] = {
        pause: {form: [] for form in models} for pause in PAUSES_S
    }
    for block in np.array_split(rows, max(1, len(rows) // BLOCK)):
        for pause, seconds in PAUSES_S.items():
            for form, model in models.items():
                spent[pause][form] += calls(model, block, seconds)
    return {
        pause: {form: quantiles(of) for form, of in forms.items()} for pause, forms in spent.items()
    }


def calls(model: LiveModel, rows: np.ndarray, pause_s: float) -> list[float]:
    """Return how long each call took, ms."""
    spent = []
    for row in rows.tolist():
        if pause_s:
            time.sleep(pause_s)
        begin = time.perf_counter()
        model.predict(row)
        spent.append((time.perf_counter() - begin) * 1000)
    return spent


def quantiles(spent: list[float]) -> Quantiles:
    """Return the median, the 99th percentile and the longest of some times."""
    p50, p99 = np.quantile(spent, [0.5, 0.99])
    return {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4), "max_ms": round(max(spent), 4)}


def ratios(of: dict[str, dict[str, Quantiles]]) -> dict[str, float]:
    """Return how many times as fast the portable form is in the median."""
    return {
        pause: round(forms["joblib"]["p50_ms"] / forms["onnx"]["p50_ms"], 1)
        for pause, forms in of.items()
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
        "times_as_fast": {"alone": ratios(alone), "beside_a_retrain": ratios(beside)},
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
        for pause, forms in result[name].items():  # type: ignore[attr-defined]
            for form, of in forms.items():
                text = f"{name:16} {pause:13} {form:6}"
                print(f"{text} p50 {of['p50_ms']:7.3f} ms, p99 {of['p99_ms']:7.3f} ms")
    print(f"times as fast in the median: {result['times_as_fast']}")


if __name__ == "__main__":
    main()
